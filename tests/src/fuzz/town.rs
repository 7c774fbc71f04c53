//! A hub and sessions on one thread, with no links: what crosses the hub, and nothing else.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    hub::{Fanout, Hub, Party, Place, Progress, Reach, Stage, Whose},
    ids::{Engine, InstanceId, SessionId},
    login::ResumeSecret,
    server::{Config, Counters, Desk, Generation, HubChange, HubEvent, LoginClaim, Outbox, Session, SessionState},
    session::budget::Budget,
    store::StoreResponse,
    time::{Instant, UnixMillis},
    wire::RawFrame,
};

const SERVER: InstanceId = InstanceId(900);

/// Where a session lives.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) session: RefCell<Session>,
    pub(super) outbox: RefCell<Outbox>,
}

/// The hub and everybody on it.
pub(super) struct Town {
    pub(super) now: Instant,
    pub(super) hub: Hub<Rc<Cell>>,
    pub(super) global: Arc<Budget>,
    pub(super) desk: Desk,
    pub(super) desk_outbox: RefCell<Outbox>,
    config: Arc<Config>,
    counters: Arc<Counters>,
}

struct Outboxes<'a>(&'a RefCell<Outbox>);

impl Reach<Rc<Cell>> for Outboxes<'_> {
    fn visit<R>(&self, whose: Whose<'_, Rc<Cell>>, visit: impl FnOnce(&mut Outbox) -> R) -> R {
        let outbox = match whose {
            Whose::Session(cell) => &cell.outbox,
            Whose::Server => self.0,
        };
        let mut outbox = outbox.try_borrow_mut().expect("outboxes are locked one at a time");
        visit(&mut outbox)
    }
}

impl Town {
    pub(super) fn new(config: Config) -> Self {
        let (config, counters) = (Arc::new(config), Arc::new(Counters::default()));
        let global = Arc::new(Budget::new(config.global_budget));
        let (desk, outbox) = Desk::new(&config, &counters, &global, SERVER);
        Self {
            now: Instant::from_micros(1_000_000),
            hub: Hub::new(&config, &counters, SERVER, (1, 2)),
            global,
            desk,
            desk_outbox: RefCell::new(outbox),
            config,
            counters,
        }
    }

    /// What the hub makes of a login. Whoever it replaces is ended, as it has to be before the login is answered.
    pub(super) fn log_in(&mut self, claim: &LoginClaim, stage: Stage, silent: &[SessionId]) -> Place<Rc<Cell>> {
        let (config, counters, global) = (&self.config, &self.counters, &self.global);
        let place = self.hub.login(self.now, UnixMillis(1_000), claim, stage, silent, |entry| {
            let new = entry.session(claim, ResumeSecret([1; 16]), SERVER);
            let (session, outbox) = Session::new(config, counters, global, new);
            Rc::new(Cell { session: RefCell::new(session), outbox: RefCell::new(outbox) })
        });
        if let Place::New { replaced, .. } = &place {
            for old in replaced {
                self.end(old, CloseReason::PushedOut);
            }
        }
        place
    }

    pub(super) fn frame(&mut self, cell: &Rc<Cell>, frame: RawFrame) {
        cell.session.borrow_mut().handle_frame(self.now, Generation::FIRST, frame);
        self.settle(cell);
    }

    pub(super) fn end(&mut self, cell: &Rc<Cell>, reason: CloseReason) {
        cell.session.borrow_mut().end(self.now, reason, &mut cell.outbox.borrow_mut());
        self.settle(cell);
    }

    pub(super) fn detach(&mut self, cell: &Rc<Cell>) {
        cell.session.borrow_mut().detach(self.now, Generation::FIRST);
        self.settle(cell);
    }

    /// Lets time pass for everybody.
    pub(super) fn pass(&mut self, cells: &[Rc<Cell>], duration: Duration) {
        self.now = self.now + duration;
        for cell in cells {
            cell.session.borrow_mut().handle_timeout(self.now, &mut cell.outbox.borrow_mut());
            self.settle(cell);
            let next = cell.session.borrow().poll_timeout(&cell.outbox.borrow());
            // A link writes out the count that is due, which takes it away.
            while cell
                .session
                .borrow_mut()
                .poll_transmit(self.now, Generation::FIRST, &mut cell.outbox.borrow_mut())
                .is_some()
            {}
            let after = cell.session.borrow().poll_timeout(&cell.outbox.borrow());
            assert!(after.is_none_or(|(at, _)| at > self.now), "due again at once: {next:?}, {after:?}");
        }
        self.desk_outbox.borrow_mut().expire(self.now);
        while let Some(cell) = self.hub.poll_due(self.now) {
            cell.session.borrow_mut().handle_timeout(self.now, &mut cell.outbox.borrow_mut());
            self.settle(&cell);
        }
        while self.hub.handle_timeout(self.now) {}
        self.pass_on();
        assert!(self.hub.poll_timeout().is_none_or(|at| at > self.now), "the hub is due again at once");
    }

    /// Everything that goes out to a session's client, with the window open.
    pub(super) fn received(&mut self, cell: &Rc<Cell>) -> Vec<RawFrame> {
        let (mut session, mut outbox) = (cell.session.borrow_mut(), cell.outbox.borrow_mut());
        let mut frames: Vec<Bytes> = Vec::new();
        while let Some(frame) = session.poll_transmit(self.now, Generation::FIRST, &mut outbox) {
            frames.push(frame);
        }
        while let Some(frame) = session.poll_fragment(Generation::FIRST, &mut outbox) {
            frames.push(frame);
        }
        frames.into_iter().map(|frame| RawFrame::parse(frame).expect("a frame of the server")).collect()
    }

    /// The server's application sends a frame.
    pub(super) fn send(&self, frame: &RawFrame) -> Result<(), Failure> {
        self.hub.send(self.now, frame, &Outboxes(&self.desk_outbox))
    }

    /// The application of the server takes and answers what there is of a session.
    pub(super) fn serve(&mut self, cell: &Rc<Cell>) {
        while cell.session.borrow_mut().poll_message().is_some() {}
        loop {
            let Some(query) = cell.session.borrow_mut().poll_query() else { break };
            cell.outbox.borrow_mut().reply(query.token, Ok(&query.body));
        }
        self.settle(cell);
    }

    /// What the hub has for others goes to them; its store knows nobody.
    fn pass_on(&mut self) {
        while let Some((job, _)) = self.hub.poll_request() {
            self.hub.handle_response(self.now, job, Ok(StoreResponse::NotFound));
        }
        while let Some(reply) = self.hub.poll_reply() {
            let cell = reply.handle.clone();
            reply.put(&mut cell.outbox.borrow_mut());
        }
        while let Some(fanout) = self.hub.poll_fanout() {
            self.fan_out(fanout);
        }
    }

    fn fan_out(&self, mut fanout: Fanout) {
        let outboxes = Outboxes(&self.desk_outbox);
        while self.hub.carry_on(self.now, &mut fanout, &outboxes, &mut |_| ()) == Progress::More {}
    }

    fn settle(&mut self, cell: &Rc<Cell>) {
        let (id, origin, engine): (_, _, Engine) = {
            let session = cell.session.borrow();
            (session.id(), session.origin(), session.engine().clone())
        };
        let rights = cell.session.borrow().rights();
        let party = Party { session: id, origin, engine: &engine, rights, handle: cell };
        loop {
            let Some(command) = cell.session.borrow_mut().poll_hub() else { break };
            match self.hub.carry_out(self.now, &party, command, &Outboxes(&self.desk_outbox)) {
                Some(HubEvent::Broadcast(fanout)) => self.fan_out(*fanout),
                Some(event) => cell.session.borrow_mut().handle_hub(event),
                None => {}
            }
        }
        loop {
            let Some(change) = cell.session.borrow_mut().poll_change() else { break };
            match change {
                HubChange::Window { until, turn } => self.hub.set_window(&party, turn, until),
                HubChange::Ended { reason, dedupe, attempt, .. } => {
                    self.hub.remove(self.now, &party, reason, attempt, dedupe);
                }
                HubChange::Request(request) => self.hub.people_request(self.now, &party, request),
                HubChange::Kick { user, id } => {
                    let victims = self.hub.sessions_of(&user);
                    let status = if victims.is_empty() { Err(Failure::Offline) } else { Ok(()) };
                    for victim in victims {
                        self.end(&victim, CloseReason::Kicked);
                    }
                    cell.outbox.borrow_mut().respond(id, status, &[], &[]);
                }
            }
        }
        self.pass_on();
        let closes = cell.session.borrow_mut().poll_close(Generation::FIRST);
        if let Some(reason) = closes
            && cell.session.borrow().state() != SessionState::Ended
        {
            self.end(cell, reason);
        }
    }
}
