//! What happens to links, and to whoever is at their ends.

use std::sync::atomic::Ordering::Relaxed;

use esf_driver::endpoint::Endpoint as _;
use esf_proto::ids::LinkId;

use super::{Who, World, node};
use crate::wire_between::Wire;

impl World {
    /// The present link of a client.
    ///
    /// # Panics
    /// If it has none.
    pub fn link(&mut self, who: Who) -> &mut Wire {
        let mut of = self.links.range_mut((who, LinkId(0))..=(who, LinkId(u64::MAX)));
        of.next_back().expect("the client has a link").1
    }

    /// The first link of a client, whatever became of it.
    ///
    /// # Panics
    /// If it never had one.
    pub fn first_link(&mut self, who: Who) -> &mut Wire {
        let mut of = self.links.range_mut((who, LinkId(0))..=(who, LinkId(u64::MAX)));
        of.next().expect("the client had a link").1
    }

    /// The link before the present one.
    ///
    /// # Panics
    /// If there is none.
    pub fn older_link(&mut self, who: Who) -> &mut Wire {
        let mut of = self.links.range_mut((who, LinkId(0))..=(who, LinkId(u64::MAX)));
        of.next_back();
        of.next_back().expect("the client had an older link").1
    }

    /// Cuts a client's link: what is under way is lost in both directions and both ends learn of it at once.
    pub fn cut(&mut self, who: Who) {
        self.give_up(who);
        self.server_learns(who);
    }

    /// The client gives its link up; the server does not know yet, and what is under way to it may still arrive.
    pub fn give_up(&mut self, who: Who) {
        let now = self.now;
        let Some((id, wire)) = self.present(who) else { return };
        wire.client_gone = true;
        wire.down.clear();
        self.engines[who.0].session.handle_link_closed(now, id, None);
    }

    /// What is under way on links that the client gave up arrives.
    pub fn late_arrives(&mut self, who: Who) {
        for wire in self.links.iter_mut().filter(|((of, _), wire)| *of == who && wire.client_gone).map(|(_, wire)| wire)
        {
            (wire.hold_up, wire.pass_up, wire.asleep) = (false, None, false);
        }
        self.run();
    }

    /// The server learns that the client's newest given-up link is dead; what was under way on it is lost.
    pub fn server_learns(&mut self, who: Who) {
        let now = self.now;
        for wire in self.links.iter_mut().filter(|((of, _), wire)| *of == who && wire.client_gone).map(|(_, wire)| wire)
        {
            wire.up.clear();
            if let Some(mut conn) = wire.conn.take() {
                conn.handle_closed(now, None);
            }
        }
    }

    /// The server dies without a word and starts again, with nothing in its memory.
    pub fn restart_server(&mut self) {
        let now = self.now;
        for ((who, id), wire) in &mut self.links {
            wire.up.clear();
            wire.down.clear();
            if wire.conn.take().is_some() && !wire.client_gone {
                wire.client_gone = true;
                self.engines[who.0].session.handle_link_closed(now, *id, None);
            }
        }
        // A link that the server had given up before stays silent, and its client does not know.
        self.links.retain(|_, wire| !wire.client_gone);
        self.cells.clear();
        self.lives += 1;
        self.node = node(self.config.clone(), self.lives, &self.wall, &self.accounts);
    }

    /// The network between a client and the server is gone: both ends know, and attempts to connect fail until
    /// [`World::back`].
    pub fn away(&mut self, who: Who) {
        self.engine(who).network = false;
        self.cut(who);
    }

    /// The network is there again; the client's next attempt succeeds.
    pub fn back(&mut self, who: Who) {
        self.engine(who).network = true;
    }

    /// The server gives the client's link up; the client does not know, and nothing that it sends arrives.
    pub fn server_gives_up(&mut self, who: Who) {
        let now = self.now;
        let Some((_, wire)) = self.present(who) else { return };
        wire.down.clear();
        if let Some(mut conn) = wire.conn.take() {
            conn.handle_closed(now, None);
        }
    }

    /// The client's process dies: nothing of the engine is left, and the server does not know.
    pub fn die(&mut self, who: Who) {
        if let Some((_, wire)) = self.present(who) {
            wire.client_gone = true;
            wire.down.clear();
        }
        self.engines[who.0].dead = true;
    }

    /// Sets the wall clock, in ms since the epoch; it goes on from there.
    pub fn set_wall(&mut self, ms: u64) {
        self.wall.store(ms, Relaxed);
    }

    pub(super) fn present(&mut self, who: Who) -> Option<(LinkId, &mut Wire)> {
        let of = self.links.range_mut((who, LinkId(0))..=(who, LinkId(u64::MAX)));
        of.rev().find(|(_, wire)| !wire.client_gone).map(|((_, id), wire)| (*id, wire))
    }
}
