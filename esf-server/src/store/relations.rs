//! Who is whose contact, and who is in which group.

use esf_tokio::{GroupId, UserId, store::Person};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{Problem, Store, now_ms, signed, unsigned};

/// How long a change is kept for a server to notice.
const KEEP_CHANGES_MS: u64 = 24 * 60 * 60 * 1000;
/// As many as there are.
const ALL: usize = usize::MAX;

/// A group, as a list of all tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) members: u64,
}

/// What became of adding a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    Now,
    /// They were in it already.
    Before,
    /// There is no such group.
    NoGroup,
}

impl Store {
    /// Makes two users contacts of each other; `false` if they are, or if it is one and the same.
    pub(crate) fn add_contact(&mut self, one: &UserId, other: &UserId) -> Result<bool, Problem> {
        if one == other {
            return Ok(false);
        }
        self.relate(&[one, other], |connection| {
            let sql = "INSERT INTO contact (user, contact) VALUES (?1, ?2), (?2, ?1) ON CONFLICT DO NOTHING";
            connection.execute(sql, [one.as_str(), other.as_str()])
        })
    }

    /// Makes two users strangers to each other; `false` if they are.
    pub(crate) fn remove_contact(&mut self, one: &UserId, other: &UserId) -> Result<bool, Problem> {
        self.relate(&[one, other], |connection| {
            let sql = "DELETE FROM contact WHERE (user = ?1 AND contact = ?2) OR (user = ?2 AND contact = ?1)";
            connection.execute(sql, [one.as_str(), other.as_str()])
        })
    }

    /// The contacts of a user, in order.
    pub(crate) fn contacts(&self, user: &UserId) -> Result<Vec<UserId>, Problem> {
        self.told(contacts(&self.connection, user, None, ALL))
    }

    /// Makes a group without members; `false` if there is one of that id, or if the id is that of a dynamic group.
    pub(crate) fn create_group(&mut self, group: &GroupId) -> Result<bool, Problem> {
        if group.is_dynamic() {
            return Ok(false);
        }
        let sql = "INSERT INTO people_group (id, made_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        let made = self.connection.execute(sql, params![group.as_str(), signed(now_ms())]);
        self.told(made).map(|made| made > 0)
    }

    /// Removes a group; `false` if there is none.
    pub(crate) fn delete_group(&mut self, group: &GroupId) -> Result<bool, Problem> {
        self.change_relations(|connection| {
            let sql = "INSERT INTO relation_change (user, at) SELECT user, ?2 FROM member WHERE group_id = ?1";
            connection.execute(sql, params![group.as_str(), signed(now_ms())])?;
            connection.execute("DELETE FROM member WHERE group_id = ?1", [group.as_str()])?;
            connection.execute("DELETE FROM people_group WHERE id = ?1", [group.as_str()]).map(|gone| gone > 0)
        })
    }

    /// Adds a member to a group.
    pub(crate) fn add_member(&mut self, group: &GroupId, user: &UserId) -> Result<Joined, Problem> {
        let mut there = false;
        let added = self.relate(&[user], |connection| {
            there = is_group(connection, group)?;
            let sql = "INSERT INTO member (group_id, user) SELECT id, ?2 FROM people_group WHERE id = ?1
                       ON CONFLICT DO NOTHING";
            connection.execute(sql, [group.as_str(), user.as_str()])
        })?;
        Ok(match (added, there) {
            (true, _) => Joined::Now,
            (false, true) => Joined::Before,
            (false, false) => Joined::NoGroup,
        })
    }

    /// Removes a member of a group; `false` if they are none.
    pub(crate) fn remove_member(&mut self, group: &GroupId, user: &UserId) -> Result<bool, Problem> {
        self.relate(&[user], |connection| {
            connection.execute("DELETE FROM member WHERE group_id = ?1 AND user = ?2", [group.as_str(), user.as_str()])
        })
    }

    /// The members of a group, in order; `None` if there is no such group.
    pub(crate) fn members(&self, group: &GroupId) -> Result<Option<Vec<UserId>>, Problem> {
        self.told(members(&self.connection, group, None, ALL))
    }

    /// Every group, by id.
    pub(crate) fn groups(&self) -> Result<Vec<Group>, Problem> {
        let sql = "SELECT id, (SELECT count(*) FROM member WHERE group_id = id) FROM people_group ORDER BY id";
        let found = self.connection.prepare(sql).and_then(|mut statement| {
            let group = |row: &rusqlite::Row<'_>| Ok(Group { id: row.get(0)?, members: unsigned(row.get(1)?) });
            statement.query_map([], group)?.collect::<rusqlite::Result<Vec<_>>>()
        });
        self.told(found)
    }

    /// Carries out a change of what these users have, and notes that it did; `false` if it changed nothing.
    fn relate(
        &mut self,
        users: &[&UserId],
        change: impl FnOnce(&Connection) -> rusqlite::Result<usize>,
    ) -> Result<bool, Problem> {
        self.change_relations(|connection| {
            let changed = change(connection)? > 0;
            if changed {
                for user in users {
                    note_change(connection, user)?;
                }
            }
            Ok(changed)
        })
    }

    fn change_relations(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<bool>,
    ) -> Result<bool, Problem> {
        let run = || {
            let all = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let changed = change(&all)?;
            let old = signed(now_ms().saturating_sub(KEEP_CHANGES_MS));
            all.execute(
                "DELETE FROM relation_change WHERE version < (
                    SELECT coalesce(min(version), 0) FROM relation_change WHERE at >= ?1)",
                [old],
            )?;
            all.commit().map(|()| changed)
        };
        let done = run();
        self.told(done)
    }
}

/// Notes that the contacts or groups of a user have changed.
pub(super) fn note_change(connection: &Connection, user: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT INTO relation_change (user, at) VALUES (?1, ?2)")?;
    statement.execute(params![user, signed(now_ms())]).map(drop)
}

/// The version of the last change.
pub(super) fn last_change(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'relation_change'), 0)";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Whose contacts or groups have changed after that version, each once, and the version that this is.
pub(super) fn changes_after(connection: &Connection, version: i64) -> rusqlite::Result<(i64, Vec<UserId>)> {
    let last = last_change(connection)?;
    if last <= version {
        return Ok((version, Vec::new()));
    }
    let sql = "SELECT DISTINCT user FROM relation_change WHERE version > ?1 AND version <= ?2";
    let users = names(connection, sql, params![version, last])?;
    Ok((last, users))
}

/// Takes a user out of everything, when their account goes.
pub(super) fn forget(connection: &Connection, user: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO relation_change (user, at) SELECT contact, ?2 FROM contact WHERE user = ?1";
    connection.execute(sql, params![user, signed(now_ms())])?;
    note_change(connection, user)?;
    connection.execute(
        "DELETE FROM contact WHERE contact = ?1 AND user IN (
        SELECT contact FROM contact WHERE user = ?1)",
        [user],
    )?;
    connection.execute("DELETE FROM contact WHERE user = ?1", [user])?;
    connection.execute("DELETE FROM member WHERE user = ?1", [user]).map(drop)
}

/// What a server asks at a login, but for messages and whether there is such a user.
pub(super) fn person(
    connection: &Connection,
    user: &UserId,
    max_contacts: usize,
    max_groups: usize,
) -> rusqlite::Result<Person> {
    let mut contacts = contacts(connection, user, None, max_contacts.saturating_add(1))?;
    let sql = "SELECT group_id FROM member WHERE user = ?1 ORDER BY group_id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![user.as_str(), number(max_groups.saturating_add(1))], |row| {
        // An id in the store is an id; one that is not belongs to nobody.
        Ok(GroupId::parse(row.get_ref(0)?.as_str()?).ok())
    })?;
    let mut groups = rows.filter_map(Result::transpose).collect::<rusqlite::Result<Vec<_>>>()?;
    let cut = contacts.len() > max_contacts || groups.len() > max_groups;
    contacts.truncate(max_contacts);
    groups.truncate(max_groups);
    Ok(Person { contacts, groups, cut, ..Person::default() })
}

pub(super) fn contacts(
    connection: &Connection,
    user: &UserId,
    after: Option<&UserId>,
    limit: usize,
) -> rusqlite::Result<Vec<UserId>> {
    let sql = "SELECT contact FROM contact WHERE user = ?1 AND contact > ?2 ORDER BY contact LIMIT ?3";
    names(connection, sql, params![user.as_str(), after.map_or("", UserId::as_str), number(limit)])
}

/// `None`: there is no such group.
pub(super) fn members(
    connection: &Connection,
    group: &GroupId,
    after: Option<&UserId>,
    limit: usize,
) -> rusqlite::Result<Option<Vec<UserId>>> {
    let sql = "SELECT user FROM member WHERE group_id = ?1 AND user > ?2 ORDER BY user LIMIT ?3";
    let after = after.map_or("", UserId::as_str);
    let members = names(connection, sql, params![group.as_str(), after, number(limit)])?;
    Ok((!members.is_empty() || is_group(connection, group)?).then_some(members))
}

fn is_group(connection: &Connection, group: &GroupId) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM people_group WHERE id = ?1")?;
    Ok(statement.query_row([group.as_str()], |_| Ok(())).optional()?.is_some())
}

fn names(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<Vec<UserId>> {
    let mut statement = connection.prepare_cached(sql)?;
    // A name in the store is a name; one that is not has no login.
    let rows = statement.query_map(parameters, |row| Ok(UserId::parse(row.get_ref(0)?.as_str()?, u8::MAX).ok()))?;
    rows.filter_map(Result::transpose).collect()
}

fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
