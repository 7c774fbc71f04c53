//! Messages that wait for their receivers, those that never get through, and the keys of those that did.

use std::time::Duration;

use esf_tokio::{
    Bytes, DeviceKind, UnixMillis, UserId,
    store::{StoreId, StoreKey, StoreLimits, StoreResponse, StoredMessage},
};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::{Problem, Store, now_ms, signed, unsigned};

/// How long the key of a dead letter stays known that an operator dropped.
const KEEP_DROPPED: Duration = Duration::from_secs(60 * 60);

/// A message that was handed out too often and never confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    pub(crate) id: u64,
    /// `None` is the server.
    pub(crate) sender: Option<String>,
    pub(crate) receiver: String,
    pub(crate) device: Option<u8>,
    pub(crate) accepted_at_ms: u64,
    pub(crate) bytes: u64,
}

impl Store {
    /// Messages that were handed out too often without being confirmed, the oldest first.
    pub(crate) fn dead_letters(&self) -> Result<Vec<DeadLetter>, Problem> {
        let sql = "SELECT id, sender, receiver, device, accepted_at, length(frame) FROM message
                   WHERE dead = 1 ORDER BY id";
        let letter = |row: &rusqlite::Row<'_>| {
            Ok(DeadLetter {
                id: unsigned(row.get(0)?),
                sender: Some(row.get::<_, String>(1)?).filter(|sender| !sender.is_empty()),
                receiver: row.get(2)?,
                device: row.get(3)?,
                accepted_at_ms: unsigned(row.get(4)?),
                bytes: unsigned(row.get(5)?),
            })
        };
        let found = self
            .connection
            .prepare(sql)
            .and_then(|mut statement| statement.query_map([], letter)?.collect::<rusqlite::Result<Vec<_>>>());
        self.told(found)
    }

    /// Lets a dead letter be delivered again, as if it had never been tried; `false` if there is none of that number.
    pub(crate) fn retry_dead_letter(&mut self, id: u64) -> Result<bool, Problem> {
        let sql = "UPDATE message SET dead = 0, tries = 0 WHERE id = ?1 AND dead = 1";
        self.told(self.connection.execute(sql, [signed(id)])).map(|changed| changed > 0)
    }

    /// Forgets a dead letter; `false` if there is none of that number.
    pub(crate) fn drop_dead_letter(&mut self, id: u64) -> Result<bool, Problem> {
        let mut run = || {
            let all = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let sql =
                "DELETE FROM message WHERE id = ?1 AND dead = 1 RETURNING sender, instance, number, length(frame)";
            let Some(gone) = all.query_row(sql, [signed(id)], Gone::of).optional()? else { return Ok(false) };
            gone.bury(&all, now_ms(), KEEP_DROPPED)?;
            change_total(&all, -gone.charge)?;
            all.commit().map(|()| true)
        };
        let done = run();
        self.told(done)
    }
}

/// A key as the tables have it.
pub(super) struct Key<'a> {
    sender: &'a str,
    instance: i64,
    number: i64,
}

impl<'a> Key<'a> {
    pub(super) fn of(key: &'a StoreKey) -> Self {
        // The server is nobody's name: no name is empty.
        let sender = key.user.as_ref().map_or("", UserId::as_str);
        Self { sender, instance: bits(key.instance.0), number: bits(key.id.0) }
    }
}

/// The same bits as a number that SQLite has.
fn bits(number: u64) -> i64 {
    i64::from_le_bytes(number.to_le_bytes())
}

/// A message that was taken out.
struct Gone {
    sender: String,
    instance: i64,
    number: i64,
    /// What it counted.
    charge: i64,
}

impl Gone {
    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let bytes: usize = row.get(3)?;
        let charge = signed(StoreLimits::charge(bytes));
        Ok(Self { sender: row.get(0)?, instance: row.get(1)?, number: row.get(2)?, charge })
    }

    /// Keeps its key known for a while.
    fn bury(&self, connection: &Connection, now: u64, keep: Duration) -> rusqlite::Result<()> {
        let sql = "INSERT INTO tombstone (sender, instance, number, until) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT DO UPDATE SET until = max(until, excluded.until)";
        let until = signed(now.saturating_add(millis(keep)));
        connection.prepare_cached(sql)?.execute(params![self.sender, self.instance, self.number, until]).map(drop)
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a key is that of a message, or of one that went a short time ago.
pub(super) fn knows(connection: &Connection, key: &Key<'_>, now: u64) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM message WHERE sender = ?1 AND instance = ?2 AND number = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let there = statement.query_row(params![key.sender, key.instance, key.number], |_| Ok(())).optional()?;
    Ok(there.is_some() || is_buried(connection, key, now)?)
}

pub(super) fn is_buried(connection: &Connection, key: &Key<'_>, now: u64) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM tombstone WHERE sender = ?1 AND instance = ?2 AND number = ?3 AND until > ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params![key.sender, key.instance, key.number, signed(now)], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

/// Keeps a message; `false` if there is one of that key.
pub(super) fn insert(
    connection: &Connection,
    key: &Key<'_>,
    receiver: &UserId,
    device: Option<DeviceKind>,
    frame: &[u8],
    now: u64,
) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO message (receiver, device, sender, instance, number, accepted_at, frame)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";
    let device = device.map(|device| device.0);
    let parameters = params![receiver.as_str(), device, key.sender, key.instance, key.number, signed(now), frame];
    connection.prepare_cached(sql)?.execute(parameters).map(|inserted| inserted > 0)
}

/// How many messages wait for a user.
pub(super) fn waiting(connection: &Connection, receiver: &UserId) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM message WHERE receiver = ?1 AND dead = 0";
    connection.prepare_cached(sql)?.query_row([receiver.as_str()], |row| row.get(0)).map(unsigned)
}

/// Whether a message from after `since` waits for a user or for this device of theirs.
pub(super) fn waits(
    connection: &Connection,
    receiver: &UserId,
    device: DeviceKind,
    since: u64,
) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM message WHERE receiver = ?1 AND dead = 0
               AND (device IS NULL OR device = ?2) AND accepted_at > ?3)";
    connection.prepare_cached(sql)?.query_row(params![receiver.as_str(), device.0, signed(since)], |row| row.get(0))
}

/// A page of what waits.
pub(super) struct Page {
    pub(super) after: StoreId,
    pub(super) max_messages: usize,
    pub(super) max_bytes: usize,
    /// Only messages from after this time.
    pub(super) since: u64,
}

pub(super) fn fetch(
    connection: &Connection,
    receiver: &UserId,
    device: DeviceKind,
    page: &Page,
) -> rusqlite::Result<StoreResponse> {
    let sql = "SELECT id, accepted_at, tries, frame FROM message WHERE receiver = ?1 AND dead = 0 AND id > ?2
               AND (device IS NULL OR device = ?3) AND accepted_at > ?4 ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let after = signed(page.after.0);
    let mut rows = statement.query(params![receiver.as_str(), after, device.0, signed(page.since)])?;
    let (mut messages, mut bytes, mut more) = (Vec::new(), 0_usize, false);
    while let Some(row) = rows.next()? {
        let frame = row.get_ref(3)?.as_blob()?;
        bytes = bytes.saturating_add(frame.len());
        if messages.len() >= page.max_messages || (bytes > page.max_bytes && !messages.is_empty()) {
            more = true;
            break;
        }
        messages.push(StoredMessage {
            id: StoreId(unsigned(row.get(0)?)),
            accepted_at: UnixMillis(unsigned(row.get(1)?)),
            tries: row.get(2)?,
            frame: Bytes::copy_from_slice(frame),
        });
    }
    Ok(StoreResponse::Messages { messages, more })
}

/// What changed of a mailbox.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// Messages that wait no longer.
    pub(super) fewer: u64,
    /// By how much all messages count less.
    pub(super) freed: i64,
}

/// Counts a delivery that was not confirmed; says how many messages have become dead letters.
pub(super) fn tried(
    connection: &Connection,
    receiver: &UserId,
    messages: &[StoreId],
    max_tries: u8,
) -> rusqlite::Result<u64> {
    let sql = "UPDATE message SET tries = min(tries + 1, 255), dead = tries + 1 >= ?3
               WHERE id = ?1 AND receiver = ?2 AND dead = 0 RETURNING dead";
    let mut statement = connection.prepare_cached(sql)?;
    let mut died = 0;
    for id in messages {
        let dead = statement.query_row(params![signed(id.0), receiver.as_str(), max_tries], |row| row.get(0));
        died += u64::from(dead.optional()?.unwrap_or(false));
    }
    Ok(died)
}

/// Takes messages out that their receiver has confirmed, and keeps their keys for a while.
pub(super) fn confirm(
    connection: &Connection,
    receiver: &UserId,
    messages: &[StoreId],
    now: u64,
    keep: Duration,
) -> rusqlite::Result<Change> {
    let sql = "DELETE FROM message WHERE id = ?1 AND receiver = ?2
               RETURNING sender, instance, number, length(frame), dead";
    let mut statement = connection.prepare_cached(sql)?;
    let mut change = Change::default();
    for id in messages {
        let gone = |row: &rusqlite::Row<'_>| Ok((Gone::of(row)?, row.get::<_, bool>(4)?));
        let Some((gone, dead)) = statement.query_row(params![signed(id.0), receiver.as_str()], gone).optional()? else {
            continue;
        };
        gone.bury(connection, now, keep)?;
        change.fewer += u64::from(!dead);
        change.freed += gone.charge;
    }
    Ok(change)
}

/// Takes the oldest messages out, at most so many of those from `before` or earlier: whose mailboxes they leave, what
/// they counted, and when the oldest that stays came.
pub(super) fn expire(
    connection: &Connection,
    before: u64,
    at_most: usize,
) -> rusqlite::Result<(Vec<String>, i64, Option<u64>)> {
    // They are in the order of their age: the first that is young enough ends it.
    let sql = "DELETE FROM message WHERE id IN (
                   SELECT id FROM message WHERE id < coalesce(
                       (SELECT id FROM message WHERE accepted_at > ?1 ORDER BY id LIMIT 1), 9223372036854775807)
                   ORDER BY id LIMIT ?2)
               RETURNING receiver, length(frame)";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut receivers, mut freed) = (Vec::new(), 0);
    let mut rows = statement.query(params![signed(before), at_most])?;
    while let Some(row) = rows.next()? {
        receivers.push(row.get(0)?);
        freed += signed(StoreLimits::charge(row.get(1)?));
    }
    let oldest = "SELECT accepted_at FROM message ORDER BY id LIMIT 1";
    let oldest: Option<i64> = connection.prepare_cached(oldest)?.query_row([], |row| row.get(0)).optional()?;
    Ok((receivers, freed, oldest.map(unsigned)))
}

/// Forgets keys whose time is over, at most so many.
pub(super) fn forget_keys(connection: &Connection, now: u64, at_most: usize) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM tombstone WHERE (sender, instance, number) IN (
                   SELECT sender, instance, number FROM tombstone WHERE until <= ?1 ORDER BY until LIMIT ?2)";
    connection.prepare_cached(sql)?.execute(params![signed(now), at_most])
}

/// Takes all out that is for a user, when their account goes.
pub(super) fn forget(connection: &Connection, receiver: &str) -> rusqlite::Result<()> {
    let mut freed = 0;
    for dead in ["0", "1"] {
        let sql = format!("DELETE FROM message WHERE receiver = ?1 AND dead = {dead} RETURNING length(frame)");
        let mut statement = connection.prepare(&sql)?;
        let charges = statement.query_map([receiver], |row| row.get(0).map(StoreLimits::charge))?;
        for charge in charges {
            freed += signed(charge?);
        }
    }
    change_total(connection, -freed)
}

/// What all messages count.
pub(super) fn total(connection: &Connection) -> rusqlite::Result<u64> {
    connection.prepare_cached("SELECT bytes FROM mail_total")?.query_row([], |row| row.get(0)).map(unsigned)
}

pub(super) fn change_total(connection: &Connection, by: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE mail_total SET bytes = max(bytes + ?1, 0)")?.execute([by]).map(drop)
}
