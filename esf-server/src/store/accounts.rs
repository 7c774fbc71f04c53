//! Who may log in.

use esf_tokio::{Rights, UserId};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use serde::Serialize;

use super::{Problem, Store, mail, now_ms, relations, signed, unsigned};

/// How long a change is kept for a server to notice.
const KEEP_CHANGES_MS: u64 = 24 * 60 * 60 * 1000;

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Talk with others
    User,
    /// Also kick users out, list those that are online, and look after others' dynamic groups
    Admin,
}

impl Role {
    pub(crate) fn rights(self) -> Rights {
        match self {
            Self::User => Rights::NONE,
            Self::Admin => Rights::KICK.with(Rights::LIST).with(Rights::GROUPS),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    /// The table holds no other word.
    fn of(name: &str) -> Self {
        if name == Self::Admin.name() { Self::Admin } else { Self::User }
    }
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    /// The hash of the password, as `accounts::secret` makes it.
    pub(crate) password: String,
    pub(crate) role: Role,
    /// That of its credential.
    pub(crate) version: u64,
    pub(crate) made_at_ms: u64,
}

/// Credentials that were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Those of this user below this version.
    pub(crate) version: u64,
    pub(crate) name: String,
}

impl Store {
    pub(crate) fn account(&self, name: &UserId) -> Result<Option<Account>, Problem> {
        let sql = "SELECT name, password, role, version, made_at FROM account WHERE name = ?1";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([name.as_str()], account_of).optional());
        self.told(found)
    }

    /// Every account, by name.
    pub(crate) fn accounts(&self) -> Result<Vec<Account>, Problem> {
        let sql = "SELECT name, password, role, version, made_at FROM account ORDER BY name";
        let found = self
            .connection
            .prepare(sql)
            .and_then(|mut statement| statement.query_map([], account_of)?.collect::<rusqlite::Result<Vec<_>>>());
        self.told(found)
    }

    pub(crate) fn has_accounts(&self) -> Result<bool, Problem> {
        self.told(self.connection.query_row("SELECT EXISTS (SELECT 1 FROM account)", [], |row| row.get(0)))
    }

    /// Makes an account; `false` if there is one of that name.
    pub(crate) fn add_account(&mut self, name: &UserId, password: &str, role: Role) -> Result<bool, Problem> {
        self.change(name, false, |connection, version, now| {
            let sql = "INSERT INTO account (name, password, role, version, made_at, changed_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT (name) DO NOTHING";
            connection.execute(sql, params![name.as_str(), password, role.name(), version, now])
        })
    }

    /// Changes the password and gives the old one up; `false` if there is no such account.
    pub(crate) fn set_password(&mut self, name: &UserId, password: &str) -> Result<bool, Problem> {
        self.change(name, true, |connection, version, now| {
            let sql = "UPDATE account SET password = ?2, version = ?3, changed_at = ?4 WHERE name = ?1";
            connection.execute(sql, params![name.as_str(), password, version, now])
        })
    }

    /// Removes an account with its contacts, its membership in groups and the messages to it; `false` if there is none.
    pub(crate) fn remove_account(&mut self, name: &UserId) -> Result<bool, Problem> {
        self.change(name, true, |connection, _, _| {
            let removed = connection.execute("DELETE FROM account WHERE name = ?1", [name.as_str()])?;
            if removed > 0 {
                relations::forget(connection, name)?;
                mail::forget(connection, name)?;
            }
            Ok(removed)
        })
    }

    /// Gives an account another role; `false` if there is no such account. Whoever is logged in with more rights than the
    /// new role has is logged off; more rights come with the next login.
    pub(crate) fn set_role(&mut self, name: &UserId, role: Role) -> Result<bool, Problem> {
        let Some(account) = self.account(name)? else { return Ok(false) };
        if account.role == role {
            return Ok(true);
        }
        self.change(name, role == Role::User, |connection, version, now| {
            let sql = "UPDATE account SET role = ?2, version = ?3, changed_at = ?4 WHERE name = ?1";
            connection.execute(sql, params![name.as_str(), role.name(), version, now])
        })
    }

    /// Gives the tickets of a user up, and leaves who is logged in; `false` if there is no such account.
    pub(crate) fn give_up_tickets(&mut self, name: &UserId) -> Result<bool, Problem> {
        self.change(name, false, |connection, version, now| {
            let sql = "UPDATE account SET version = ?2, changed_at = ?3 WHERE name = ?1";
            connection.execute(sql, params![name.as_str(), version, now])
        })
    }

    /// The version of the last change, whatever it was.
    pub(crate) fn last_change(&self) -> Result<u64, Problem> {
        let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'account_change'), 0)";
        self.told(self.connection.query_row(sql, [], |row| row.get(0)).map(unsigned))
    }

    /// The changes after that version that end logins, in order.
    pub(crate) fn changes_after(&self, version: u64) -> Result<Vec<Change>, Problem> {
        let sql = "SELECT version, name FROM account_change WHERE version > ?1 AND ends_logins = 1 ORDER BY version";
        let found = self.connection.prepare_cached(sql).and_then(|mut statement| {
            let change = |row: &rusqlite::Row<'_>| Ok(Change { version: unsigned(row.get(0)?), name: row.get(1)? });
            statement.query_map([signed(version)], change)?.collect::<rusqlite::Result<Vec<_>>>()
        });
        self.told(found)
    }

    /// Changes with each commit of another connection: whether it is worth looking.
    pub(crate) fn commits_of_others(&self) -> Result<i64, Problem> {
        self.told(self.connection.pragma_query_value(None, "data_version", |row| row.get(0)))
    }

    /// Draws the next version and makes a change with it, both or neither; `false` if no account was changed.
    fn change(
        &mut self,
        name: &UserId,
        ends_logins: bool,
        change: impl FnOnce(&Connection, i64, i64) -> rusqlite::Result<usize>,
    ) -> Result<bool, Problem> {
        let now = now_ms();
        let run = || {
            let both = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let sql = "INSERT INTO account_change (name, ends_logins, at) VALUES (?1, ?2, ?3)";
            both.execute(sql, params![name.as_str(), ends_logins, signed(now)])?;
            if change(&both, both.last_insert_rowid(), signed(now))? == 0 {
                return Ok(false);
            }
            let old = signed(now.saturating_sub(KEEP_CHANGES_MS));
            both.execute("DELETE FROM account_change WHERE at < ?1", [old])?;
            both.commit().map(|()| true)
        };
        let done = run();
        self.told(done)
    }
}

/// Whether there is an account of that name.
pub(super) fn has_account(connection: &Connection, name: &UserId) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM account WHERE name = ?1")?;
    Ok(statement.query_row([name.as_str()], |_| Ok(())).optional()?.is_some())
}

fn account_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        name: row.get(0)?,
        password: row.get(1)?,
        role: Role::of(&row.get::<_, String>(2)?),
        version: unsigned(row.get(3)?),
        made_at_ms: unsigned(row.get(4)?),
    })
}
