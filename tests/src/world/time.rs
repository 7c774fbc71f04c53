//! Time passes, and everybody has their turn until nothing moves any more.

use std::{sync::atomic::Ordering::Relaxed, task::Waker, time::Duration};

use esf_driver::{endpoint::Endpoint, node::Conn};
use esf_proto::{
    client::{Action, Event},
    close::CloseReason,
    failure::Failure,
    ids::LinkId,
    time::Instant,
};

use super::{Answering, Who, World, meet};
use crate::wire_between::{Down, Up, Wire};

impl World {
    /// Lets everything happen that happens without time passing.
    ///
    /// # Panics
    /// If it never ends.
    pub fn run(&mut self) {
        for _ in 0..100_000 {
            if self.turn() {
                continue;
            }
            if self.next_timeout().is_none_or(|next| next > self.now) {
                return;
            }
            self.fire();
        }
        panic!("the world does not come to rest: {:?}", self.who_is_next());
    }

    /// Lets time pass, from timer to timer.
    pub fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.run();
        while let Some(next) = self.next_timeout().filter(|next| *next <= end) {
            self.pass_to(self.now.max(next));
            self.fire();
            self.run();
        }
        self.pass_to(end);
        self.run();
    }

    /// Time jumps, as in a process that slept: every timer fires as late as that.
    pub fn jump(&mut self, duration: Duration) {
        self.pass_to(self.now + duration);
        self.fire();
        self.run();
    }

    /// Lets time pass until the client is logged in.
    ///
    /// # Panics
    /// If that takes over two minutes.
    pub fn until_online(&mut self, who: Who) {
        for _ in 0..1_200 {
            self.run();
            if self.is_online(who) {
                return;
            }
            self.advance(Duration::from_millis(100));
        }
        panic!("the client does not come online: {:?}", self.session(who).state());
    }

    fn pass_to(&mut self, now: Instant) {
        let passed = now.since(self.now).as_millis();
        self.wall.fetch_add(u64::try_from(passed).expect("a time of day"), Relaxed);
        self.now = now;
    }

    fn next_timeout(&self) -> Option<Instant> {
        let living = self.engines.iter().filter(|engine| !engine.dead);
        let engines = living.filter_map(|engine| engine.session.poll_timeout()).map(|(at, _)| at);
        let conns = self.links.values().filter_map(|wire| wire.conn.as_ref()).filter_map(Endpoint::poll_timeout);
        engines.chain(conns).chain(self.node.poll_timeout()).min()
    }

    fn who_is_next(&self) -> Vec<String> {
        let engines = self.engines.iter().map(|engine| format!("client {:?}", engine.session.poll_timeout()));
        let conns = self
            .links
            .iter()
            .map(|(key, wire)| format!("link {key:?} {:?}", wire.conn.as_ref().and_then(Endpoint::poll_timeout)));
        engines.chain(conns).chain([format!("node {:?}", self.node.poll_timeout())]).collect()
    }

    fn fire(&mut self) {
        let now = self.now;
        for wire in self.links.values_mut() {
            if let Some(conn) = wire.conn.as_mut().filter(|conn| conn.poll_timeout().is_some_and(|at| at <= now)) {
                conn.handle_timeout(now);
            }
        }
        for engine in self.engines.iter_mut().filter(|engine| !engine.dead) {
            if engine.session.poll_timeout().is_some_and(|(at, _)| at <= now) {
                engine.session.handle_timeout(now);
            }
        }
        self.node.handle_timeout(now);
    }

    /// One round of everybody; says whether anything moved.
    fn turn(&mut self) -> bool {
        let mut moved = false;
        for who in (0..self.engines.len()).map(Who) {
            moved |= self.turn_of_client(who);
        }
        let keys: Vec<(Who, LinkId)> = self.links.keys().copied().collect();
        for key in keys {
            moved |= self.turn_of_server(key);
            moved |= self.deliver_down(key);
        }
        moved |= self.turn_of_application();
        moved |= self.turn_of_store();
        moved
    }

    fn turn_of_client(&mut self, who: Who) -> bool {
        let now = self.now;
        let engine = &mut self.engines[who.0];
        if engine.dead {
            return false;
        }
        let mut moved = false;
        moved |= engine.blobs.give(now, &mut engine.session);
        while let Some(transmit) = engine.session.poll_transmit(now) {
            moved = true;
            let key = (who, transmit.link);
            if let Some(wire) = self.links.get_mut(&key).filter(|wire| !wire.client_gone) {
                wire.up.push_back(Up::Message(transmit.frame));
                if engine.session.wants_flush() {
                    engine.session.handle_transport(now, transmit.link, wire.client);
                }
            }
        }
        while let Some(action) = engine.session.poll_action() {
            moved = true;
            match action {
                Action::Connect { link } if engine.network => {
                    let conn = Conn::accept(&self.node, now);
                    let mut wire = Wire::new(conn);
                    if let Some((up, down)) = engine.next_pass.take() {
                        (wire.pass_up, wire.pass_down) = (Some(up), Some(down));
                    }
                    self.links.insert((who, link), wire);
                    engine.session.handle_connected(now, link);
                }
                Action::Connect { link } => engine.session.handle_connect_failed(now, link),
                Action::Close { link, reason } => {
                    if let Some(wire) = self.links.get_mut(&(who, link)).filter(|wire| !wire.client_gone) {
                        wire.client_gone = true;
                        wire.up.push_back(Up::Close(Some(reason.map_or(1000, CloseReason::websocket_code))));
                    }
                }
                Action::Drop { link } => {
                    if let Some(wire) = self.links.get_mut(&(who, link)).filter(|wire| !wire.client_gone) {
                        wire.client_gone = true;
                        wire.up.push_back(Up::Close(None));
                    }
                }
            }
        }
        while let Some(event) = engine.session.poll_event() {
            moved = true;
            if let Event::Query(query) = &event {
                match engine.answering {
                    Answering::Echo => engine.session.reply(now, query.token, Ok(query.body.clone())),
                    Answering::Fails => engine.session.reply(now, query.token, Err(Failure::HandlerFailed)),
                    Answering::Never => engine.queries.push(query.clone()),
                }
            }
            if let Event::Blob(event) = &event {
                engine.blobs.on_event(now, &mut engine.session, event);
            }
            engine.events.push(event);
        }
        while engine.takes {
            let Some(message) = engine.session.poll_message() else { break };
            moved = true;
            if let Some(stored) = message.stored.as_ref().filter(|_| engine.confirms) {
                engine.session.confirm(now, stored.id);
            }
            engine.messages.push(message);
        }
        moved
    }

    fn turn_of_server(&mut self, key: (Who, LinkId)) -> bool {
        let now = self.now;
        let Some(wire) = self.links.get_mut(&key).filter(|wire| !wire.asleep) else { return false };
        let Some(mut conn) = wire.conn.take() else { return false };
        let mut moved = false;
        conn.register(Waker::noop());
        while let Some(up) = wire.next_up() {
            moved = true;
            match up {
                Up::Message(message) => {
                    wire.transport.read += message.len() as u64;
                    conn.handle_message(now, message);
                }
                Up::Text => conn.handle_text(now),
                Up::Pong => wire.transport.read += 2,
                Up::Close(code) => {
                    conn.handle_closed(now, code);
                    return true;
                }
            }
        }
        conn.handle_transport(now, wire.transport);
        while let Some(request) = self.authenticates.then(|| conn.poll_request()).flatten() {
            moved = true;
            conn.handle_response(now, self.accounts.answer(request));
        }
        // A transport that nobody reads takes so much and no more.
        while wire.has_room() {
            let Some(frame) = conn.poll_transmit(now) else { break };
            moved = true;
            wire.push_down(frame);
        }
        wire.transport.unflushed = !wire.has_room();
        let mut closed = false;
        while let Some(action) = conn.poll_action() {
            moved = true;
            match action {
                esf_driver::endpoint::LinkAction::Ping => wire.down.push_back(Down::Ping),
                esf_driver::endpoint::LinkAction::Close { reason } => {
                    wire.down.push_back(Down::Close(reason.map(CloseReason::websocket_code)));
                    closed = true;
                }
                esf_driver::endpoint::LinkAction::Drop => {
                    wire.down.push_back(Down::Close(None));
                    closed = true;
                }
            }
        }
        meet(&mut self.cells, conn.cell());
        if closed {
            conn.handle_closed(now, None);
        } else {
            wire.conn = Some(conn);
        }
        moved
    }

    fn deliver_down(&mut self, (who, id): (Who, LinkId)) -> bool {
        let now = self.now;
        let engine = &mut self.engines[who.0];
        let Some(wire) = self.links.get_mut(&(who, id)) else { return false };
        if wire.client_gone {
            return false;
        }
        let mut moved = false;
        while let Some(down) = wire.next_down() {
            moved = true;
            match down {
                Down::Message(message) => {
                    wire.transport.written += message.len() as u64;
                    wire.client.read += message.len() as u64;
                    engine.session.handle_transport(now, id, wire.client);
                    engine.session.handle_message(now, id, message);
                }
                Down::Ping => {
                    wire.client.read += 2;
                    engine.session.handle_transport(now, id, wire.client);
                    wire.up.push_back(Up::Pong);
                }
                Down::Close(code) => {
                    wire.client_gone = true;
                    engine.session.handle_link_closed(now, id, code);
                    break;
                }
            }
        }
        moved
    }

    fn turn_of_application(&mut self) -> bool {
        let mut moved = false;
        for cell in &self.cells {
            if self.answering != Answering::Never {
                while let Some(message) = cell.poll_message() {
                    moved = true;
                    self.inbox.push(message);
                }
            }
            moved |= self.server_blobs.take(self.now, &self.node, cell);
            while let Some(query) = cell.poll_query() {
                moved = true;
                match self.answering {
                    Answering::Echo => cell.reply(query.token, Ok(&query.body)),
                    Answering::Fails => cell.reply(query.token, Err(Failure::HandlerFailed)),
                    Answering::Never => {}
                }
            }
        }
        while let Some(event) = self.node.poll_event() {
            moved = true;
            self.server_events.push(event);
        }
        moved
    }

    fn turn_of_store(&mut self) -> bool {
        let mut moved = false;
        loop {
            let asked = self.node.poll_request();
            let nothing = asked.is_none();
            moved |= !nothing;
            let answer = self.people.take(asked);
            if let Some((job, answer)) = answer {
                moved = true;
                self.node.handle_response(self.now, job, answer);
            } else if nothing {
                return moved;
            }
        }
    }
}
