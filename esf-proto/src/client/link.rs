//! The life of a link: connecting, staying alive, and every way in which it ends.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use bytes::Bytes;

use super::{Action, Event, On, Session, State, Transmit, backoff::STEADY, watch::TransportWatch};
use crate::{
    close::CloseReason,
    failure::Failure,
    ids::{LinkId, MessageId},
    login::LoginCode,
    session::{
        lanes::Lane,
        timers::{TimerKind, Timers},
        transport::Transport,
    },
    time::Instant,
    wire::{Flags, Frame, Header, Kind, RawFrame},
};

/// How long a login may take once the link is there.
const LOGIN: Duration = Duration::from_secs(30);
/// How long to wait for the close that follows a refused login, or for the answers to go out at log-off.
pub(super) const CLOSING: Duration = Duration::from_secs(2);
/// How long after a heartbeat something must be heard.
const ANSWER: Duration = Duration::from_secs(10);
/// A timer that fires later than this says that this side slept, not that the server is gone.
const SLEPT: Duration = Duration::from_secs(2);
/// How long bytes that were handed to the transport may stand still.
const OVERFLOW: Duration = Duration::from_secs(30);

/// The timers of a link; the others run while there is none.
const LINK_TIMERS: [TimerKind; 6] = [
    TimerKind::Connect,
    TimerKind::Login,
    TimerKind::Heartbeat,
    TimerKind::HeartbeatAnswer,
    TimerKind::Overflow,
    TimerKind::Closing,
];

/// The present link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) stage: Stage,
    /// A login that was refused, until its close has come.
    pub(super) refusal: Option<Refusal>,
    pub(super) online_since: Option<Instant>,
    /// A count is to be told before anything else.
    pub(super) count_now: bool,
    /// A heartbeat is to be sent, with this nonce.
    pub(super) heartbeat_now: bool,
    pub(super) nonce: u32,
    /// The transport has taken everything: a fragment may go out.
    pub(super) bulk: bool,
    watch: TransportWatch,
}

/// How far the frames before the login's result are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The question before login is to be sent.
    AskFirst,
    /// It was sent; its answer is to come.
    Asked,
    /// The login is to be sent.
    LogIn,
    /// It was sent.
    LoginSent,
}

/// What a login was refused with.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: LoginCode,
    pub(super) cause: String,
}

impl Refusal {
    /// Why the session ends, if the close that told it was lost.
    const fn reason(&self) -> CloseReason {
        match self.code {
            LoginCode::Succeed | LoginCode::Failed => CloseReason::LoginFailed,
            LoginCode::HadLoggedOn => CloseReason::NewConnectionIgnored,
            LoginCode::VersionMismatched => CloseReason::VersionMismatched,
            LoginCode::ClientTypeMismatched => CloseReason::UnauthorisedClientType,
        }
    }
}

impl Session {
    /// Asks for a new link.
    pub(super) fn open_link(&mut self) {
        self.last_link += 1;
        let id = LinkId(self.last_link);
        self.link = Some(Link {
            id,
            stage: Stage::LogIn,
            refusal: None,
            online_since: None,
            count_now: false,
            heartbeat_now: false,
            nonce: 0,
            bulk: false,
            watch: TransportWatch::default(),
        });
        self.stats.connects += 1;
        self.timers.set(TimerKind::Connect, self.now + self.config.connect_timeout);
        self.actions.push_back(Action::Connect { link: id });
    }

    /// The link is there: what comes first goes out.
    pub(super) fn begin_login(&mut self) {
        let Some(link) = &mut self.link else { return };
        link.stage = if self.config.pre_query.is_some() { Stage::AskFirst } else { Stage::LogIn };
        self.timers.clear(TimerKind::Connect);
        self.timers.set(TimerKind::Login, self.now + LOGIN);
        self.set_state(On::Connected, State::LoggingIn);
    }

    // Liveness.

    /// Something was heard: any byte will do.
    pub(super) fn heard(&mut self) {
        self.timers.clear(TimerKind::HeartbeatAnswer);
    }

    pub(super) fn observe(&mut self, transport: Transport) {
        let Some(link) = &mut self.link else { return };
        let heard = link.watch.observe(self.now, transport);
        link.bulk = !transport.unflushed;
        match link.watch.overflow_at(OVERFLOW) {
            Some(at) => self.timers.set(TimerKind::Overflow, at),
            None => self.timers.clear(TimerKind::Overflow),
        }
        if heard {
            self.heard();
        }
    }

    /// Plans the first heartbeat of a link.
    pub(super) fn begin_heartbeats(&mut self) {
        self.timers.set(TimerKind::Heartbeat, self.now + self.config.heartbeat);
    }

    /// Asks for a sign of life. If one is awaited already, that wait goes on.
    pub(super) fn beat(&mut self) {
        if let Some(link) = &mut self.link {
            link.heartbeat_now = true;
        }
        self.timers.set(TimerKind::Heartbeat, self.now + self.config.heartbeat);
        if self.timers.get(TimerKind::HeartbeatAnswer).is_none() {
            self.timers.set(TimerKind::HeartbeatAnswer, self.now + ANSWER);
        }
    }

    pub(super) fn on_timer(&mut self, due: Instant, kind: TimerKind) {
        match kind {
            TimerKind::Connect => self.abandon(None, CloseReason::NetworkInterrupted),
            TimerKind::Login if self.now.since(due) > SLEPT => self.timers.set(TimerKind::Login, self.now + LOGIN),
            TimerKind::Login => self.abandon(Some(CloseReason::LoginTimeout), CloseReason::LoginTimeout),
            TimerKind::Heartbeat => self.beat(),
            TimerKind::HeartbeatAnswer if self.now.since(due) > SLEPT => self.beat(),
            TimerKind::HeartbeatAnswer => {
                self.stats.silent_links += 1;
                self.abandon(Some(CloseReason::HeartbeatTimeout), CloseReason::HeartbeatTimeout);
            }
            TimerKind::Overflow if self.now.since(due) > SLEPT => {
                if let Some(link) = &mut self.link {
                    link.watch.restart(self.now);
                    self.timers.set(TimerKind::Overflow, self.now + OVERFLOW);
                }
            }
            TimerKind::Overflow => {
                self.stats.overflows += 1;
                self.abandon(Some(CloseReason::ChannelOverflow), CloseReason::ChannelOverflow);
            }
            TimerKind::Retry => self.retry(),
            TimerKind::Closing if self.state == State::LoggingOff => self.say_farewell(),
            TimerKind::Closing => self.abandon(None, CloseReason::NetworkInterrupted),
            _ => {}
        }
    }

    fn retry(&mut self) {
        if !matches!(self.state, State::Waiting { .. }) {
            return;
        }
        if self.held.as_mut().is_some_and(|held| !core::mem::replace(&mut held.rebuilding, true)) {
            self.tell(Event::ConnectionRebuildStart);
        }
        self.set_state(On::Retry, State::Connecting);
        self.open_link();
    }

    // Ends of a link.

    /// The server broke a rule.
    pub(super) fn violated(&mut self, reason: CloseReason) {
        self.stats.violations += 1;
        self.abandon(Some(reason), reason);
    }

    /// Leaves the link from this side, and says why if `told`; it is lost for `reason`.
    pub(super) fn abandon(&mut self, told: Option<CloseReason>, reason: CloseReason) {
        self.close_link(told);
        self.lose_link(reason);
    }

    /// The server closed the link for this reason.
    pub(super) fn closed_by_server(&mut self, reason: CloseReason) {
        if let Some(link) = &self.link {
            self.actions.push_back(Action::Close { link: link.id, reason: None });
        }
        self.lose_link(reason);
    }

    /// The server asks the client to leave and come back.
    pub(super) fn go_away(&mut self, retry_after: Duration) {
        self.tell_if_room(Event::GoAway { retry_after });
        self.close_link(Some(CloseReason::GoingAway));
        self.lose_link_for(CloseReason::GoingAway, Some(retry_after));
    }

    /// Hands the driver what ends the present link: a close frame and code if there is something to tell.
    fn close_link(&mut self, told: Option<CloseReason>) {
        let Some(link) = self.link.as_ref().map(|link| link.id) else { return };
        if let Some(reason) = told {
            let frame = Frame::Close { reason, text: reason.text() };
            self.farewell = self.arena.encode(&frame, Header::default()).ok().map(|frame| Transmit { link, frame });
            self.actions.push_back(Action::Close { link, reason: told });
        } else {
            self.actions.push_back(Action::Drop { link });
        }
    }

    /// The present link is gone, or of no more use.
    pub(super) fn lose_link(&mut self, reason: CloseReason) {
        self.lose_link_for(reason, None);
    }

    fn lose_link_for(&mut self, reason: CloseReason, stay_away: Option<Duration>) {
        let Some(link) = self.link.take() else { return };
        for timer in LINK_TIMERS {
            self.timers.clear(timer);
        }
        if link.stage == Stage::Asked {
            self.config.pre_query = None;
            self.tell(Event::PreReply { status: Err(Failure::ConnectionLost), body: Bytes::new() });
        }
        if let Some(refusal) = link.refusal {
            return self.refused(refusal, reason);
        }
        if self.state == State::LoggingOff {
            return self.end(On::LinkEnded, CloseReason::LoggedOff);
        }
        if !reason.may_reconnect() || !self.config.reconnect {
            return self.end(On::LinkEnded, reason);
        }
        self.drop_volatile();
        self.sending.link_lost();
        if let Some(since) = link.online_since {
            if self.now.since(since) >= STEADY {
                self.backoff.reset();
            }
            if let Some(held) = &mut self.held {
                held.lost_at = self.now;
            }
            self.tell_if_room(Event::ConnectionInterrupted { reason });
        }
        let wait = match stay_away {
            Some(wait) => self.backoff.asked_for(wait),
            None => self.backoff.next(self.held.as_ref().is_some_and(|held| held.is_resumable(self.now))),
        };
        let until = self.now + wait;
        self.timers.set(TimerKind::Retry, until);
        let on = if stay_away.is_some() { On::GoAway } else { On::LinkLost };
        self.set_state(on, State::Waiting { until });
    }

    /// A refused login ends the session, for the reason that the link was closed with if it was told.
    fn refused(&mut self, refusal: Refusal, closed: CloseReason) {
        let reason = if closed == CloseReason::NetworkInterrupted { refusal.reason() } else { closed };
        let Refusal { code, cause } = refusal;
        self.tell(match self.held {
            Some(_) => Event::RelogonCompleted { code, mode: None },
            None => Event::LoginRefused { code, cause, reason },
        });
        self.end(On::Refused, reason);
    }

    // The end of the session.

    /// Ends the login: what is queued comes to nothing, what is to be answered still goes out, then the link is closed
    /// for `LoggedOff`. The event `Closed` follows; no command is taken any more.
    pub fn log_off(&mut self, now: Instant) {
        self.tick(now);
        match self.state {
            State::Closed(_) | State::LoggingOff => {}
            State::Online => {
                self.set_state(On::LogOff, State::LoggingOff);
                self.timers.set(TimerKind::Closing, self.now + CLOSING);
                self.withdraw_commands();
            }
            State::LoggingIn => {
                self.close_link(Some(CloseReason::LoggedOff));
                self.end(On::LogOff, CloseReason::LoggedOff);
            }
            State::Connecting | State::Waiting { .. } => {
                self.close_link(None);
                self.end(On::LogOff, CloseReason::LoggedOff);
            }
        }
    }

    /// The last frame of a log-off.
    pub(super) fn say_farewell(&mut self) {
        self.close_link(Some(CloseReason::LoggedOff));
        self.end(On::Farewell, CloseReason::LoggedOff);
    }

    /// The session is over: whatever is open gets its outcome, then `Closed`.
    pub(super) fn end(&mut self, on: On, reason: CloseReason) {
        self.set_state(on, State::Closed(reason));
        if let Some(held) = &mut self.held {
            held.forget_ticket();
        }
        let asked = self.link.take().is_some_and(|link| link.stage == Stage::Asked);
        if self.config.pre_query.take().is_some() {
            let failure = if asked { Failure::ConnectionLost } else { Failure::Offline };
            self.tell(Event::PreReply { status: Err(failure), body: Bytes::new() });
        }
        self.timers = Timers::default();
        match reason {
            CloseReason::PushedOut => self.tell(Event::BeingPushedOut),
            CloseReason::Kicked => self.tell(Event::BeingKickedOut),
            _ => {}
        }
        while let Some((id, open)) = self.pending.pop_first() {
            self.tell(Event::Failed { id, failure: open.at_the_end() });
        }
        self.end_blobs();
        for (frame, _) in self.hop.take_uncounted() {
            self.tell_undeliverable(frame, Failure::ConnectionLost);
        }
        for (_, queued) in self.lanes.drain() {
            self.tell_undeliverable(queued.frame, Failure::Offline);
        }
        self.budget.release(self.budget.used());
        self.incoming = Default::default();
        self.senders = Default::default();
        self.tell(Event::Closed { reason });
    }

    /// At log-off nothing that was not handed out goes out, but answers.
    fn withdraw_commands(&mut self) {
        let mut waiting = Vec::new();
        self.lanes.take_out(|_| true, |queued| waiting.push(queued));
        self.drop_volatile();
        for queued in waiting {
            if RawFrame::parse(queued.frame.clone()).is_ok_and(|raw| is_answer(&raw)) {
                self.lanes.push(Lane::Interactive, queued);
                continue;
            }
            self.budget.release(queued.cost);
            if queued.tag == 0 {
                self.tell_undeliverable(queued.frame, Failure::Offline);
            } else if let Some(open) = self.pending.take(MessageId(queued.tag)) {
                self.tell(Event::Failed { id: MessageId(queued.tag), failure: open.at_the_end() });
            }
        }
    }

    /// What may be dropped does not wait for another link.
    fn drop_volatile(&mut self) {
        let mut dropped = Vec::new();
        self.lanes.take_volatile(|queued| dropped.push(queued));
        for queued in dropped {
            self.budget.release(queued.cost);
            self.stats.volatile_dropped += 1;
            self.tell_undeliverable(queued.frame, Failure::Busy);
        }
    }

    /// Tells that a plain send came to nothing, if its frame asks for that.
    pub(super) fn tell_undeliverable(&mut self, frame: Bytes, failure: Failure) {
        if let Some(note) = RawFrame::parse(frame).ok().and_then(|raw| note(&raw)) {
            self.tell(Event::Undeliverable { note, failure });
        }
    }
}

/// The number of a plain send that asks to be told.
fn note(frame: &RawFrame) -> Option<u64> {
    let told = frame.flags().contains(Flags::TELL) && matches!(frame.kind(), Some(Kind::Send | Kind::EngineMessage));
    told.then(|| frame.envelope().ok().map(|envelope| envelope.id)).flatten()
}

/// Whether a frame of this engine answers somebody, so that it goes out again after a fresh login.
pub(super) fn is_answer(frame: &RawFrame) -> bool {
    frame.kind().is_some_and(Kind::is_answer)
}
