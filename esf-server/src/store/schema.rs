//! The tables, and how a store of an older version gets those of today.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{Problem, Trouble};

/// Marks the file as a store of ESF: `ESF1`.
const APPLICATION: i32 = 0x4553_4631;

/// The steps from nothing to today's tables. A store has done the first so many: that is its version. A step that was
/// released does not change any more.
const STEPS: &[&str] = &[
    // A name is compared byte by byte. `version` is that of the credential: the row of account_change that last gave
    // older ones up. It is of all accounts together and is never used twice, so that an account which is removed and made
    // again has a later one.
    "CREATE TABLE account (
        name TEXT NOT NULL PRIMARY KEY,
        password TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
        version INTEGER NOT NULL,
        made_at INTEGER NOT NULL,
        changed_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE account_change (
        version INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        ends_logins INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE ticket_key (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        secret BLOB NOT NULL CHECK (length(secret) = 32),
        made_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE login_numbers (
        only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
        below INTEGER NOT NULL
    ) STRICT;",
    // A pair of contacts is there from both sides. The names need not be those of accounts: who may log in can be somebody
    // else's to say. `relation_change` names those whose contacts or groups have changed, for a server to notice.
    //
    // The sender of a message is '' for the server. `instance` is the bits of an unsigned number. Messages are numbered in
    // the order in which they came, and so is their age. A tombstone keeps the key of one that is gone known for a while.
    // `mail_total` is what all messages count, as every change of theirs leaves it.
    "CREATE TABLE contact (
        user TEXT NOT NULL,
        contact TEXT NOT NULL,
        PRIMARY KEY (user, contact)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE people_group (
        id TEXT NOT NULL PRIMARY KEY,
        made_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE member (
        group_id TEXT NOT NULL REFERENCES people_group (id),
        user TEXT NOT NULL,
        PRIMARY KEY (group_id, user)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX member_by_user ON member (user, group_id);
    CREATE TABLE relation_change (
        version INTEGER PRIMARY KEY AUTOINCREMENT,
        user TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        receiver TEXT NOT NULL,
        device INTEGER,
        sender TEXT NOT NULL,
        instance INTEGER NOT NULL,
        number INTEGER NOT NULL,
        accepted_at INTEGER NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0,
        frame BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX message_by_key ON message (sender, instance, number);
    CREATE INDEX message_waiting ON message (receiver, id) WHERE dead = 0;
    CREATE INDEX message_dead ON message (id) WHERE dead = 1;
    CREATE TABLE tombstone (
        sender TEXT NOT NULL,
        instance INTEGER NOT NULL,
        number INTEGER NOT NULL,
        until INTEGER NOT NULL,
        PRIMARY KEY (sender, instance, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tombstone_by_end ON tombstone (until);
    CREATE TABLE mail_total (
        only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
        bytes INTEGER NOT NULL
    ) STRICT;
    INSERT INTO mail_total (only, bytes) VALUES (1, 0);",
];

/// Brings the store to today's tables and settings.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Problem> {
    prepare_by(STEPS, connection, path)
}

pub(super) fn prepare_by(steps: &[&str], connection: &mut Connection, path: &Path) -> Result<(), Problem> {
    let problem = |error: rusqlite::Error| Problem::of_sqlite(path, &error);
    let found = version(connection, steps, path)?;
    // A commit is on the disk when it returns, also after a loss of power.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(problem)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(problem)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(problem)?;
    if found == steps.len() {
        return Ok(());
    }
    let step = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(problem)?;
    // Another process may have been faster.
    let found = version(&step, steps, path)?;
    for missing in steps.iter().skip(found) {
        step.execute_batch(missing).map_err(problem)?;
    }
    step.pragma_update(None, "application_id", APPLICATION).map_err(problem)?;
    step.pragma_update(None, "user_version", steps.len()).map_err(problem)?;
    step.commit().map_err(problem)
}

/// How many steps the store has done.
fn version(connection: &Connection, steps: &[&str], path: &Path) -> Result<usize, Problem> {
    let pragma = |name: &str| -> Result<i64, Problem> {
        let number = connection.pragma_query_value(None, name, |row| row.get(0));
        number.map_err(|error| Problem::of_sqlite(path, &error))
    };
    let (application, version, changes) =
        (pragma("application_id")?, pragma("user_version")?, pragma("schema_version")?);
    let is_new = (application, version, changes) == (0, 0, 0);
    if !is_new && application != i64::from(APPLICATION) {
        return Err(Problem::new(Trouble::Corrupt, path, "it is the database of something else"));
    }
    let newer = || {
        let reason = format!("it has version {version}, and this esf knows no later one than {}", steps.len());
        Problem::new(Trouble::Newer, path, reason)
    };
    usize::try_from(version).ok().filter(|version| *version <= steps.len()).ok_or_else(newer)
}
