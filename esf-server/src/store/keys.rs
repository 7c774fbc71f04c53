//! What outlives a server besides accounts: the keys of its tickets, and how far it has counted.

use rusqlite::{OptionalExtension as _, TransactionBehavior, params};

use super::{Problem, Store, signed, unsigned};

/// A key that tickets are signed with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TicketKey {
    pub(crate) id: u64,
    pub(crate) secret: [u8; 32],
    pub(crate) made_at_ms: u64,
}

impl Store {
    /// The keys, the newest last.
    pub(crate) fn ticket_keys(&self) -> Result<Vec<TicketKey>, Problem> {
        let key = |row: &rusqlite::Row<'_>| {
            Ok(TicketKey { id: unsigned(row.get(0)?), secret: row.get(1)?, made_at_ms: unsigned(row.get(2)?) })
        };
        let sql = "SELECT id, secret, made_at FROM ticket_key ORDER BY id";
        let found = self
            .connection
            .prepare(sql)
            .and_then(|mut statement| statement.query_map([], key)?.collect::<rusqlite::Result<Vec<_>>>());
        self.told(found)
    }

    /// Adds a key and forgets those that were made before a time.
    pub(crate) fn add_ticket_key(
        &mut self,
        secret: [u8; 32],
        now_ms: u64,
        forget_before_ms: u64,
    ) -> Result<(), Problem> {
        let mut run = || {
            let both = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            both.execute("DELETE FROM ticket_key WHERE made_at < ?1", [signed(forget_before_ms)])?;
            let sql = "INSERT INTO ticket_key (secret, made_at) VALUES (?1, ?2)";
            both.execute(sql, params![secret, signed(now_ms)])?;
            both.commit()
        };
        let done = run();
        self.told(done)
    }

    /// No login number at or above this was ever drawn.
    pub(crate) fn login_numbers_below(&self) -> Result<u64, Problem> {
        let sql = "SELECT below FROM login_numbers";
        let found = self.connection.query_row(sql, [], |row| row.get(0)).optional();
        Ok(self.told(found)?.map_or(0, unsigned))
    }

    /// Raises the number below which login numbers are drawn.
    pub(crate) fn set_login_numbers_below(&mut self, below: u64) -> Result<(), Problem> {
        let sql = "INSERT INTO login_numbers (only, below) VALUES (1, ?1)
                   ON CONFLICT (only) DO UPDATE SET below = max(below, excluded.below)";
        let done = self.connection.execute(sql, [signed(below)]);
        self.told(done).map(|_| ())
    }
}
