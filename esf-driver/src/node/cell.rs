//! Where a session lives: its state behind one lock, its outbox behind another.

use std::task::Waker;

use esf_proto::{
    close::CloseReason,
    failure::Failure,
    hub::{Ended, Mail, Party, Reach, Way, Whose},
    ids::{Engine, SessionId},
    login::Rights,
    server::{Generation, HubChange, HubEvent, Outbox, Repeat, Session, SessionState, Ticket, Verdict},
    session::{
        blob::{BlobEvent, BlobId, BlobRead, TakeBlob},
        inbound::{IncomingQuery, Message, QueryToken},
    },
    time::Instant,
    wire::RawFrame,
};

use super::{Node, lock};
use crate::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

/// A session and its outbox. The directory, the session's present link and the server's application share it.
#[derive(Debug)]
pub struct Cell {
    id: SessionId,
    origin: SessionId,
    engine: Engine,
    session: Mutex<Incoming>,
    outbox: Mutex<Outgoing>,
    application: LinkWaker,
}

/// In the order in which whoever hands out frames looks at it.
#[derive(Debug)]
#[repr(C)]
struct Incoming {
    /// Messages that went that way and are not in the node's counter yet.
    relayed: u64,
    session: Session,
    /// Where its plain messages go. Forgotten soon after the last of them, since it holds on to somebody's cell.
    way: Option<Way<Arc<Cell>>>,
    /// What the server's application is to judge, once no lock is held.
    asked: Option<(Ticket, RawFrame)>,
}

/// In the order in which whoever puts something in looks at it.
#[derive(Debug)]
#[repr(C)]
struct Outgoing {
    /// The link that hands out what is put in, and as which of the session's links.
    link: Option<(Generation, Arc<LinkWaker>)>,
    /// That link was woken and has not fetched since: what comes in meanwhile it finds there.
    woken: bool,
    outbox: Outbox,
}

impl Cell {
    pub(super) fn new(session: Session, outbox: Outbox) -> Arc<Self> {
        Arc::new(Self {
            id: session.id(),
            origin: session.origin(),
            engine: session.engine().clone(),
            session: Mutex::new(Incoming { session, way: None, relayed: 0, asked: None }),
            outbox: Mutex::new(Outgoing { outbox, link: None, woken: false }),
            application: LinkWaker::default(),
        })
    }

    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    /// Whose session it is.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Which session it is.
    pub(super) fn session_id(&self) -> SessionId {
        self.id
    }

    /// What the login may do.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.look(|session| session.rights())
    }

    /// Bytes that the session holds in all.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        lock(&self.session).session.held_bytes()
    }

    // The server's application.

    /// The next message of this session for the server's application.
    #[must_use]
    pub fn poll_message(&self) -> Option<Message> {
        lock(&self.session).session.poll_message()
    }

    /// The next query of this session for the server's application; to be answered by [`Cell::reply`].
    #[must_use]
    pub fn poll_query(&self) -> Option<IncomingQuery> {
        lock(&self.session).session.poll_query()
    }

    /// Answers a query. Ignored when nobody waits for it any more.
    pub fn reply(&self, token: QueryToken, answer: Result<&[u8], Failure>) {
        self.visit(|outbox| outbox.reply(token, answer));
    }

    /// The next event of a blob that this session's client sends to the server's application.
    #[must_use]
    pub fn poll_blob_event(&self) -> Option<BlobEvent> {
        lock(&self.session).session.poll_blob_event()
    }

    /// Takes a blob that was offered. Ignored when it is over.
    pub fn accept_blob(self: &Arc<Self>, node: &Node, now: Instant, blob: BlobId, take: TakeBlob) {
        self.with_session(node, now, |session| session.accept_blob(now, blob, take));
        self.wake_link();
    }

    /// The next bytes of a blob that is taken as a stream.
    #[must_use]
    pub fn read_blob(&self, now: Instant, blob: BlobId) -> BlobRead {
        let read = lock(&self.session).session.read_blob(now, blob);
        if matches!(read, BlobRead::Data(_)) {
            self.wake_link();
        }
        read
    }

    /// Has done with a blob, and frees its place: see
    /// [`finish_blob`](esf_proto::client::Session::finish_blob) of a client.
    pub fn finish_blob(self: &Arc<Self>, node: &Node, now: Instant, blob: BlobId, outcome: Result<(), Failure>) {
        self.with_session(node, now, |session| session.finish_blob(blob, outcome));
    }

    /// Whether the session has ended: nothing more comes of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        lock(&self.session).session.state() == SessionState::Ended
    }

    /// Wakes the one that registered for the server's application once more, at the next occasion.
    pub fn await_application(&self) {
        self.application.rearm();
    }

    /// Wakes `waker`, of the link of this generation, when there is a message or query for the server's application. A
    /// link that was superseded does not take the place of the newer one.
    pub(super) fn register_application(&self, generation: Generation, waker: &Waker) {
        let incoming = lock(&self.session);
        if incoming.session.is_held_by(generation) {
            self.application.register(waker);
        }
    }

    // The node.

    pub(super) fn party<'a>(&'a self, handle: &'a Arc<Self>, rights: Rights) -> Party<'a, Arc<Self>> {
        Party { session: self.id, origin: self.origin, engine: &self.engine, rights, handle }
    }

    /// Runs `visit` on the session and its outbox, then carries out what the session wants: commands under its lock, so
    /// that a frame is counted and routed in one step; changes of the directory after it.
    pub(super) fn with<R>(
        self: &Arc<Self>,
        node: &Node,
        now: Instant,
        visit: impl FnOnce(&mut Session, &mut Outbox) -> R,
    ) -> R {
        self.with_session(node, now, |session| self.visit(|outbox| visit(session, outbox)))
    }

    /// [`Cell::with`] for a link that fetches: what comes in from here on wakes it again.
    pub(super) fn fetch<R>(
        self: &Arc<Self>,
        node: &Node,
        now: Instant,
        visit: impl FnOnce(&mut Session, &mut Outbox) -> R,
    ) -> R {
        self.with_incoming(node, now, |incoming| {
            if incoming.relayed > 0 {
                node.counters.relayed.add(std::mem::take(&mut incoming.relayed));
            }
            self.outgoing(|outgoing| {
                outgoing.woken = false;
                visit(&mut incoming.session, &mut outgoing.outbox)
            })
        })
    }

    /// Like [`Cell::with`], for what needs no outbox: others may go on putting frames in meanwhile.
    pub(super) fn with_session<R>(
        self: &Arc<Self>,
        node: &Node,
        now: Instant,
        visit: impl FnOnce(&mut Session) -> R,
    ) -> R {
        self.with_incoming(node, now, |incoming| visit(&mut incoming.session))
    }

    /// Hands frames of a link to the session, one after the other. Says why the link is to be closed, if it is.
    pub(super) fn handle_frames(
        self: &Arc<Self>,
        node: &Node,
        now: Instant,
        generation: Generation,
        mut frames: impl Iterator<Item = RawFrame>,
    ) -> Option<CloseReason> {
        loop {
            let mut is_last = true;
            let (close, asked) = self.once(node, now, |incoming| {
                let waits = incoming.session.is_parked();
                let mut next = |session: &mut Session| loop {
                    // It is asked about at once, so that what follows need not wait if the verdict is there.
                    if session.is_parked() && !waits {
                        is_last = false;
                        return None;
                    }
                    let message = session.handle_repeat(now, generation, frames.next()?);
                    if message.is_some() {
                        return message;
                    }
                };
                let mut message = next(&mut incoming.session);
                while let Some(first) = message {
                    message = self.repeat(node, now, incoming, first, &mut next);
                }
                incoming.session.poll_close(generation)
            });
            self.ask_judge(node, now, asked);
            if is_last || close.is_some() {
                return close;
            }
        }
    }

    /// The verdict on a frame of this session is there.
    pub(super) fn resume(self: &Arc<Self>, node: &Node, now: Instant, ticket: Ticket, verdict: Verdict) {
        self.with_session(node, now, |session| session.resume(now, ticket, verdict));
        self.wake_link();
    }

    /// Time has passed for the link of this session, or for the session without one.
    pub(super) fn handle_timeout(self: &Arc<Self>, node: &Node, now: Instant) {
        self.with(node, now, |session, outbox| session.handle_timeout(now, outbox));
        self.forget_way();
    }

    /// Gives the memory of an idle session back.
    pub(super) fn rest(&self) {
        self.forget_way();
        let mut incoming = lock(&self.session);
        self.visit(|outbox| incoming.session.rest(outbox));
    }

    /// Lets go of whoever the last message went to.
    pub(super) fn forget_way(&self) {
        let way = lock(&self.session).way.take();
        // It may be the last to hold a cell: what goes with that is nobody's business under this lock.
        drop(way);
    }

    /// Brings a message to where the last one went, and with it those of `next` that go there too. Gives back the first
    /// that does not.
    fn repeat(
        self: &Arc<Self>,
        node: &Node,
        now: Instant,
        incoming: &mut Incoming,
        first: Repeat,
        next: &mut impl FnMut(&mut Session) -> Option<Repeat>,
    ) -> Option<Repeat> {
        let Incoming { session, way, relayed, .. } = incoming;
        let way = match way {
            Some(way) if way.is_for(&first) => way,
            way => match node.hub().way(&first) {
                Some(found) => way.insert(found),
                None => {
                    session.relay(first);
                    return next(session);
                }
            },
        };
        let party = self.party(self, session.rights());
        let carried = way.carry(now, &party, first, || next(session), &Outboxes(node));
        *relayed += carried.messages;
        match carried.end {
            Ended::Next(message) => message,
            Ended::Refused(message, failure) => {
                let event = node.hub().refused(&party, message, failure, &Outboxes(node));
                self.hear(node, session, event);
                next(session)
            }
        }
    }

    fn with_incoming<R>(self: &Arc<Self>, node: &Node, now: Instant, visit: impl FnOnce(&mut Incoming) -> R) -> R {
        let (result, asked) = self.once(node, now, visit);
        self.ask_judge(node, now, asked);
        result
    }

    /// The same, but for what the server's application is to judge: that is given back.
    fn once<R>(
        self: &Arc<Self>,
        node: &Node,
        now: Instant,
        visit: impl FnOnce(&mut Incoming) -> R,
    ) -> (R, Option<(Ticket, RawFrame)>) {
        let mut incoming = lock(&self.session);
        let result = visit(&mut incoming);
        let changes = self.settle(node, now, &mut incoming);
        let asked = incoming.asked.take();
        drop(incoming);
        if !changes.is_empty() {
            self.change(node, now, changes);
        }
        (result, asked)
    }

    /// Asks the server's application about a frame, and about what waited behind it as long as the verdicts are there at
    /// once.
    fn ask_judge(self: &Arc<Self>, node: &Node, now: Instant, mut asked: Option<(Ticket, RawFrame)>) {
        while let Some((ticket, frame)) = asked {
            let Some(verdict) = node.ask_judge(now, self, ticket, frame) else { return };
            asked = self.once(node, now, |incoming| incoming.session.resume(now, ticket, verdict)).1;
        }
    }

    /// Runs `visit` on the session alone, for what the hub need not hear of.
    pub(super) fn look<R>(&self, visit: impl FnOnce(&mut Session) -> R) -> R {
        visit(&mut lock(&self.session).session)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let incoming = lock(&self.session);
        self.visit(|outbox| incoming.session.poll_timeout(outbox)).map(|(at, _)| at)
    }

    /// Runs `visit` on the outbox alone, and wakes the link if something came in.
    pub(super) fn visit<R>(&self, visit: impl FnOnce(&mut Outbox) -> R) -> R {
        self.outgoing(|outgoing| visit(&mut outgoing.outbox))
    }

    fn outgoing<R>(&self, visit: impl FnOnce(&mut Outgoing) -> R) -> R {
        let mut outgoing = lock(&self.outbox);
        let result = visit(&mut outgoing);
        if outgoing.outbox.take_wake() && !outgoing.woken {
            outgoing.woken = true;
            let link = outgoing.link.as_ref().map(|(_, link)| link.clone());
            // A thread that is woken looks here at once, and would only wait for this lock.
            drop(outgoing);
            if let Some(link) = link {
                link.wake();
            }
        }
        result
    }

    /// From now on this link hands out the session's frames; the one before is woken, to learn that it is fenced. Two
    /// takeovers may come here in either order: the newer link stays.
    pub(super) fn attach(&self, generation: Generation, link: &Arc<LinkWaker>) {
        let mut outgoing = lock(&self.outbox);
        let fenced = match &mut outgoing.link {
            Some((present, _)) if *present > generation => Some(link.clone()),
            present => present.replace((generation, link.clone())).map(|(_, before)| before),
        };
        outgoing.woken = false;
        drop(outgoing);
        if let Some(fenced) = fenced {
            fenced.wake();
        }
    }

    /// Wakes the session's link.
    pub(super) fn wake_link(&self) {
        if let Some((_, link)) = &lock(&self.outbox).link {
            link.wake();
        }
    }

    fn settle(self: &Arc<Self>, node: &Node, now: Instant, incoming: &mut Incoming) -> Vec<HubChange> {
        let Incoming { session, asked, .. } = incoming;
        if let Some(first) = session.poll_hub() {
            let hub = node.hub();
            let mut next = Some(first);
            while let Some(command) = next {
                let party = self.party(self, session.rights());
                match hub.carry_out(now, &party, command, &Outboxes(node)) {
                    Some(HubEvent::Judge { ticket, frame }) => *asked = Some((ticket, frame)),
                    Some(HubEvent::Broadcast(fanout)) => node.broadcast_of(&hub, now, self, *fanout),
                    event => self.hear(node, session, event),
                }
                next = session.poll_hub();
            }
        }
        if session.take_application_wake() {
            self.application.wake();
        }
        std::iter::from_fn(|| session.poll_change()).collect()
    }

    /// What the hub said to the session, which the server's application may want to know too.
    fn hear(&self, node: &Node, session: &mut Session, event: Option<HubEvent>) {
        match event {
            Some(HubEvent::TransmitFailed { ref frame, failure }) => node.transmit_failed(frame, failure),
            Some(HubEvent::Missed(missed)) => return node.missed(*missed),
            _ => {}
        }
        if let Some(event) = event {
            session.handle_hub(event);
        }
    }

    fn change(self: &Arc<Self>, node: &Node, now: Instant, changes: Vec<HubChange>) {
        let ended = changes.iter().any(|change| matches!(change, HubChange::Ended { .. }));
        for change in changes {
            node.apply(now, self, change);
        }
        if ended {
            self.wake_link();
            self.application.wake();
        }
    }
}

/// The hub's way to an outbox of this node.
#[derive(Debug)]
pub(super) struct Outboxes<'a>(pub(super) &'a Node);

impl Reach<Arc<Cell>> for Outboxes<'_> {
    fn visit<R>(&self, whose: Whose<'_, Arc<Cell>>, visit: impl FnOnce(&mut Outbox) -> R) -> R {
        match whose {
            Whose::Session(cell) => cell.visit(visit),
            Whose::Server => self.0.desk.visit(visit),
        }
    }

    fn mail<R>(&self, visit: impl FnOnce(&mut Mail<Arc<Cell>>) -> R) -> Option<R> {
        self.0.with_mail_locked(visit)
    }
}

/// Wakes whoever drives a link, once until it has looked.
#[derive(Debug, Default)]
pub(super) struct LinkWaker {
    woken: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl LinkWaker {
    pub(super) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            let waker = lock(&self.waker).clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// What comes from here on wakes again. An exchange, so that whoever does not wake because of what was here before
    /// made its change before the look that follows.
    pub(super) fn rearm(&self) {
        self.woken.swap(false, Ordering::AcqRel);
    }

    /// Keeps `waker`. What comes from here on wakes it; whoever registers looks at everything afterwards.
    pub(super) fn register(&self, waker: &Waker) {
        let mut kept = lock(&self.waker);
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
        drop(kept);
        self.rearm();
    }
}
