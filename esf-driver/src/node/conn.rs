//! One link of a server, from its acceptance to its end.

use std::{net::IpAddr, task::Waker, time::Duration};

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    hub::{Entry, Place, Stage as LoginStage},
    ids::SessionId,
    login::{LoginCode, ResumeSecret},
    server::{
        AppRequest, AppResponse, Generation, Link, LinkAction as CoreAction, LinkState, LoginClaim, Placed, Session,
        TakeOver,
    },
    session::frames::FrameBytes,
    time::Instant,
    wire::{Frames, FramesOf},
};

use super::{Cell, Node, ServerEvent, Stage, cell::LinkWaker, lock};
use crate::{
    endpoint::{Endpoint, LinkAction, Transport},
    sync::{Arc, atomic::Ordering::Relaxed, yield_now},
};

/// Frames fetched from a session under one lock.
const BATCH_FRAMES: usize = 32;
const BATCH_BYTES: usize = 16 * 1024;
/// How long an older login has to answer a probe, and how often it is asked for.
const PROBE: Duration = Duration::from_secs(2);
const PROBE_STEP: Duration = Duration::from_millis(50);

/// One accepted link. Drive it as an [`Endpoint`]; what it asks of the application comes from
/// [`Conn::poll_request`].
#[derive(Debug)]
pub struct Conn {
    node: Arc<Node>,
    link: Link,
    held: Option<Held>,
    waker: Arc<LinkWaker>,
    probing: Option<Box<Probing>>,
    /// Bytes read when the link was pinged for somebody's probe.
    pinged_at: Option<u64>,
    transport: Transport,
    /// The transport has taken everything: a fragment of a blob may go out.
    bulk: bool,
    /// Fragments wait for that.
    bulk_waits: bool,
    /// The last fetch took all that there was.
    fetched_all: bool,
    gone_away: bool,
    address: Option<IpAddr>,
    /// The time of the last input.
    clock: Instant,
}

/// The session that this link carries, as which generation of its links.
#[derive(Debug, Clone)]
struct Held {
    cell: Arc<Cell>,
    generation: Generation,
}

/// A login that waits for an older one to show life.
#[derive(Debug)]
struct Probing {
    claim: LoginClaim,
    rival: Arc<Cell>,
    number: u64,
    /// The session of `rival` after those that were asked before and did not answer.
    asked: Vec<SessionId>,
    until: Instant,
    next: Instant,
}

impl Conn {
    /// A link that was accepted now.
    #[must_use]
    pub fn accept(node: &Arc<Node>, now: Instant) -> Self {
        let id = esf_proto::ids::LinkId(node.next_link.fetch_add(1, Relaxed));
        let waker = Arc::new(LinkWaker::default());
        lock(&node.links).insert(id, waker.clone());
        Self {
            link: Link::new(&node.config, &node.counters, id, now),
            node: node.clone(),
            held: None,
            waker,
            probing: None,
            pinged_at: None,
            transport: Transport::default(),
            bulk: false,
            bulk_waits: false,
            fetched_all: false,
            gone_away: false,
            address: None,
            clock: now,
        }
    }

    /// The same link, with where it comes from.
    #[must_use]
    pub fn with_address(mut self, address: Option<IpAddr>) -> Self {
        self.address = address;
        self
    }

    /// Where the link comes from, if that is known.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// What the application is to answer by [`Conn::handle_response`]; at most one is open.
    #[must_use]
    pub fn poll_request(&mut self) -> Option<AppRequest> {
        let mut request = self.link.poll_request();
        if let Some(AppRequest::Authenticate(login)) = &mut request {
            login.address = self.address;
        }
        request
    }

    /// The application's answer.
    pub fn handle_response(&mut self, now: Instant, response: AppResponse) {
        self.link.handle_response(response);
        self.settle(now);
    }

    /// Closes the link for a reason of the caller's, such as too many connections.
    pub fn close(&mut self, reason: CloseReason) {
        self.link.close(reason);
        self.let_go(self.clock);
    }

    /// The session that it carries, once it is logged in.
    #[must_use]
    pub fn cell(&self) -> Option<&Arc<Cell>> {
        self.held.as_ref().map(|held| &held.cell)
    }

    /// Wakes `waker` when there is a message or query for the server's application in the session that it carries.
    pub fn register_application(&self, waker: &Waker) {
        if let Some(Held { cell, generation }) = &self.held {
            cell.register_application(*generation, waker);
        }
    }

    /// Where the link is in its life.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.link.state()
    }

    fn handle_messages(&mut self, now: Instant, messages: impl Iterator<Item = Bytes>) {
        let Self { node, link, held, .. } = self;
        if let Some(Held { cell, generation }) = held {
            // One lock for all frames that came together.
            let max_frame = link.max_frame();
            let frames = FramesOf::new(messages, max_frame).filter_map(|frame| link.handle_frame(now, frame));
            let close = cell.handle_frames(node, now, *generation, frames);
            if let Some(reason) = close {
                link.close(reason);
            }
        } else {
            for message in messages {
                for frame in Frames::new(message, link.max_frame()) {
                    link.handle_frame(now, frame);
                }
            }
        }
        self.settle(now);
    }

    /// Does what follows from the last input.
    fn settle(&mut self, now: Instant) {
        self.clock = self.clock.max(now);
        if let Some(claim) = self.link.poll_login().filter(|claim| !self.is_revoked(claim)) {
            self.find_place(now, claim, LoginStage::First, Vec::new());
        }
        self.let_go(now);
    }

    /// Refuses a login whose credential was given up while it was judged: it takes nobody's place.
    fn is_revoked(&mut self, claim: &LoginClaim) -> bool {
        let below = self.node.revoked.below(&claim.engine.user);
        let revoked = below.is_some_and(|below| claim.credential_version < below);
        if revoked {
            let cause = "the credential is good no more";
            self.link.refuse(LoginCode::Failed, CloseReason::LoginFailed, cause);
        }
        revoked
    }

    /// Finds the login's place; `silent` are the older logins that were asked for a sign of life and gave none.
    fn find_place(&mut self, now: Instant, claim: LoginClaim, mut stage: LoginStage, mut silent: Vec<SessionId>) {
        loop {
            let node = self.node.clone();
            let wall = node.wall();
            let secret = ResumeSecret(node.secret());
            let make = |entry: Entry| self.new_cell(&claim, secret, entry);
            match node.hub_mut(|hub| hub.login(now, wall, &claim, stage, &silent, make)) {
                Place::Same { handle } => match self.take_over(now, &handle, &claim, secret) {
                    Some(TakeOver::Fresh | TakeOver::Gone) => {
                        stage = LoginStage::Fresh;
                        // Whoever ended it is about to take it out of the directory.
                        yield_now();
                    }
                    _ => return,
                },
                Place::Stale => return self.link.close(CloseReason::Superseded),
                Place::PushedOut => {
                    let cause = "a newer login took the place";
                    return self.link.refuse(LoginCode::HadLoggedOn, CloseReason::PushedOut, cause);
                }
                Place::TooMany => {
                    let cause = "too many logins of this user at the same time";
                    return self.link.refuse(LoginCode::Failed, CloseReason::ConnectionLimit, cause);
                }
                Place::Probe { handle, session } => {
                    let number = handle.look(Session::probe);
                    handle.wake_link();
                    silent.push(session);
                    let (until, next) = (now + PROBE, now + PROBE_STEP);
                    self.probing = Some(Box::new(Probing { claim, rival: handle, number, asked: silent, until, next }));
                    return;
                }
                Place::New { handle, replaced } => {
                    for old in replaced {
                        let (engine, by) = (old.engine().clone(), claim.engine.clone());
                        node.tell(ServerEvent::PushedOut { engine, by });
                        old.with(&node, now, |session, outbox| session.end(now, CloseReason::PushedOut, outbox));
                    }
                    if claim.takes_messages {
                        // After those whose place it takes: what they had and did not hand out comes before all else.
                        node.open_tail(now, &handle);
                    }
                    node.counters.logins.add(1);
                    node.counters.resumes_refused.add(claim.resume.is_some().into());
                    let takes_messages = claim.takes_messages;
                    let (engine, address) = (claim.engine.clone(), self.address);
                    node.tell(ServerEvent::Connected { engine, takes_messages, address });
                    return self.attach(now, &handle, &claim, secret, Generation::FIRST, None);
                }
            }
        }
    }

    fn take_over(
        &mut self,
        now: Instant,
        cell: &Arc<Cell>,
        claim: &LoginClaim,
        secret: ResumeSecret,
    ) -> Option<TakeOver> {
        let node = self.node.clone();
        let outcome = cell.with(&node, now, |session, outbox| {
            let outcome = session.take_over(claim, secret);
            if outcome == TakeOver::Fresh {
                session.end(now, CloseReason::Superseded, outbox);
            }
            outcome
        });
        match outcome {
            TakeOver::Resumed { generation, received } => {
                node.counters.resumes.add(1);
                self.attach(now, cell, claim, secret, generation, Some(received));
                None
            }
            TakeOver::Stale => {
                self.link.close(CloseReason::Superseded);
                None
            }
            TakeOver::Violation => {
                self.link.close(CloseReason::InvalidMessage);
                None
            }
            TakeOver::Fresh | TakeOver::Gone => Some(outcome),
        }
    }

    fn attach(
        &mut self,
        now: Instant,
        cell: &Arc<Cell>,
        claim: &LoginClaim,
        secret: ResumeSecret,
        generation: Generation,
        resumed: Option<u32>,
    ) {
        cell.attach(generation, &self.waker);
        self.held = Some(Held { cell: cell.clone(), generation });
        let login_number = cell.look(|session| session.login_number());
        let (server, wall) = (self.node.instance, self.node.wall());
        let ticket = self.node.tickets.ticket(claim, login_number);
        let placed = Placed { resumed, secret, login_number, server, wall, ticket };
        self.link.handle_placed(now, claim, &placed);
        // Its credential may have been given up since it was judged.
        self.node.end_if_revoked(now, cell);
    }

    fn new_cell(&self, claim: &LoginClaim, secret: ResumeSecret, entry: Entry) -> Arc<Cell> {
        let new = entry.session(claim, secret, self.node.instance);
        let (session, outbox) = Session::new(&self.node.config, &self.node.counters, &self.node.global, new);
        Cell::new(session, outbox)
    }

    /// Lets the session go if the link has ended: at once, or for the resume window.
    fn let_go(&mut self, now: Instant) {
        let Some(reason) = self.link.poll_left() else { return };
        let Some(Held { cell, generation }) = self.held.take() else { return };
        cell.forget_way();
        cell.with(&self.node, now, |session, outbox| {
            if reason.ends_session() && session.is_held_by(generation) {
                session.end(now, reason, outbox);
            } else {
                session.detach(now, generation);
            }
        });
    }

    /// Hands out a few frames, of `most` at most, and does what else the session has for its link; says how many bytes
    /// there were.
    fn hand_out(&mut self, now: Instant, most: usize, mut feed: impl FnMut(&FrameBytes<'_>)) -> usize {
        // A link's own frames go first: the welcome stands before the session's frames.
        if let Some(frame) = self.link.poll_transmit() {
            let len = frame.len();
            feed(&FrameBytes::Shared(frame));
            return len;
        }
        // What came since wakes the link.
        if std::mem::take(&mut self.fetched_all) && !(self.bulk && self.bulk_waits) {
            return 0;
        }
        let Self { node, held, bulk, bulk_waits, fetched_all, .. } = self;
        let Some(Held { cell, generation }) = held else { return 0 };
        let generation = *generation;
        let (bytes, close, probe) = cell.fetch(node, now, |session, outbox| {
            let (mut frames, mut bytes) = (0, 0);
            session.transmit_while(now, generation, outbox, |frame| {
                frames += 1;
                bytes += frame.len();
                feed(frame);
                frames < most && bytes < BATCH_BYTES
            });
            *fetched_all = frames > 0 && frames < most && bytes < BATCH_BYTES;
            if frames == 0 && *bulk {
                if let Some(fragment) = session.poll_fragment(generation, outbox) {
                    *bulk = false;
                    bytes = fragment.len();
                    feed(&FrameBytes::Shared(fragment));
                }
            }
            *bulk_waits = session.has_fragment(generation, outbox);
            (bytes, session.poll_close(generation), session.poll_probe(generation))
        });
        if probe {
            self.pinged_at = Some(self.transport.read);
            self.link.ping();
        }
        if let Some(reason) = close {
            self.link.close(reason);
            self.let_go(now);
        }
        if bytes > 0 {
            return bytes;
        }
        self.link.poll_transmit().map_or(0, |frame| {
            let len = frame.len();
            feed(&FrameBytes::Shared(frame));
            len
        })
    }

    fn check_probe(&mut self, now: Instant) {
        let Some(probing) = self.probing.take_if(|probing| probing.next <= now) else { return };
        if self.link.state() != LinkState::LoggingIn {
            return;
        }
        if probing.rival.look(|session| session.probe_answered(probing.number)) {
            self.node.counters.logins_superseded.add(1);
            let cause = "the user is logged on already";
            self.link.refuse(LoginCode::HadLoggedOn, CloseReason::NewConnectionIgnored, cause);
        } else if now.since(probing.next) > PROBE {
            // This side slept: the older login had no chance to answer.
            self.node.counters.timers_late.add(1);
            self.probing = Some(Box::new(Probing { until: now + PROBE, next: now + PROBE_STEP, ..*probing }));
        } else if probing.until <= now {
            self.find_place(now, probing.claim, LoginStage::Waited, probing.asked);
        } else {
            self.probing = Some(Box::new(Probing { next: now + PROBE_STEP, ..*probing }));
        }
    }

    /// Follows the node's shutdown.
    fn follow(&mut self, now: Instant) {
        match self.node.stage() {
            Stage::Running => {}
            Stage::Draining if self.gone_away => {}
            Stage::Draining => {
                self.gone_away = true;
                match self.link.state() {
                    LinkState::Closing | LinkState::Closed => {}
                    LinkState::Attached => self.link.go_away(self.node.retry_after()),
                    // Nobody logs in any more.
                    _ => {
                        self.link.go_away(self.node.retry_after());
                        self.link.close(CloseReason::GoingAway);
                    }
                }
            }
            Stage::Closing => {
                self.link.close(CloseReason::GoingAway);
                self.let_go(now);
            }
        }
    }
}

impl Endpoint for Conn {
    fn handle_message(&mut self, now: Instant, message: Bytes) {
        self.handle_messages(now, std::iter::once(message));
    }

    fn handle_batch(&mut self, now: Instant, messages: &mut Vec<Bytes>) {
        self.handle_messages(now, messages.drain(..));
    }

    fn takes_batches(&self) -> bool {
        self.held.is_some()
    }

    fn handle_text(&mut self, now: Instant) {
        self.link.handle_text();
        self.settle(now);
    }

    fn handle_transport(&mut self, now: Instant, transport: Transport) {
        self.clock = self.clock.max(now);
        self.follow(now);
        self.link.handle_transport(now, transport);
        self.transport = transport;
        self.bulk = !transport.unflushed;
        self.fetched_all = false;
        if self.pinged_at.is_some_and(|read| read != transport.read) {
            self.pinged_at = None;
            if let Some(Held { cell, generation }) = &self.held {
                cell.look(|session| session.handle_alive(*generation));
            }
        }
    }

    fn handle_closed(&mut self, now: Instant, code: Option<u16>) {
        self.link.handle_closed(code);
        self.probing = None;
        self.settle(now);
    }

    fn wants_flush(&self) -> bool {
        self.bulk_waits
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        let mut next = None;
        self.hand_out(now, 1, |frame| next = Some(frame.clone().into_bytes()));
        next
    }

    fn transmit(&mut self, now: Instant, feed: impl FnMut(&FrameBytes<'_>)) -> usize {
        self.hand_out(now, BATCH_FRAMES, feed)
    }

    fn poll_action(&mut self) -> Option<LinkAction> {
        Some(match self.link.poll_action()? {
            CoreAction::Ping => LinkAction::Ping,
            CoreAction::Close(reason) => LinkAction::Close { reason: Some(reason) },
        })
    }

    fn rest(&mut self) {
        self.link.rest();
        if let Some(Held { cell, .. }) = &self.held {
            cell.rest();
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let link = self.link.poll_timeout().map(|(at, _)| at);
        let probe = self.probing.as_ref().map(|probing| probing.next);
        let session = self.held.as_ref().and_then(|held| held.cell.poll_timeout());
        link.into_iter().chain(probe).chain(session).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.link.handle_timeout(now);
        self.check_probe(now);
        if let Some(Held { cell, .. }) = &self.held {
            cell.handle_timeout(&self.node, now);
        }
        self.settle(now);
    }

    fn register(&mut self, waker: &Waker) {
        self.waker.register(waker);
    }

    fn max_message(&self) -> usize {
        self.link.max_message()
    }
}

impl Drop for Conn {
    /// A link whose task was cancelled is a link that broke: its session waits for the client from now on.
    fn drop(&mut self) {
        self.handle_closed(self.clock, None);
        lock(&self.node.links).remove(&self.link.id());
    }
}
