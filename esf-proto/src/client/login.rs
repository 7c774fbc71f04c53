//! Logging in: the login frame, and what a welcome means for what is under way.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use bytes::Bytes;

use super::{
    Config, ConfigError, Event, On, PreQuery, Session, State,
    link::{CLOSING, Refusal, is_answer},
};
use crate::{
    close::CloseReason,
    failure::Failure,
    ids::{InstanceId, MessageId},
    login::{LoginCode, Mode, ResumeSecret, Rights},
    session::{
        budget::Budget,
        hop::Hop,
        lanes::{Lane, Queued},
        timers::TimerKind,
    },
    time::{Instant, UnixMillis},
    wire::{self, Frame, Header, LoginResult, MAX_TICKET, PRELOGIN_MAX_FRAME, RawFrame, Resume, Welcome},
};

/// A server that announces more is taken at this.
const MAX_FRAME: u32 = 64 << 20;

/// What a server allows, as its last welcome said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest frame in bytes, its header included. 1 MiB before the first login.
    pub max_frame: usize,
    /// Bytes of messages that may be under way and not taken by the other side.
    pub window: u32,
    /// How long the server keeps a session without a link.
    pub resume_window: Duration,
    /// How long the server bears silence; `None` for ever.
    pub heartbeat_limit: Option<Duration>,
    /// The largest blob that is delivered whole.
    pub max_blob: u64,
    /// The longest user name.
    pub max_user_id: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: 1 << 20,
            window: 256 << 10,
            resume_window: Duration::from_secs(60),
            heartbeat_limit: Some(Duration::from_secs(30)),
            max_blob: 64 << 20,
            max_user_id: 64,
        }
    }
}

impl Limits {
    fn of(welcome: &Welcome<'_>) -> Self {
        let silence = Duration::from_millis(welcome.heartbeat_limit_ms.into());
        // A login of 8 KiB was taken, so no server can mean less.
        let max_frame = usize::try_from(welcome.max_frame.min(MAX_FRAME)).unwrap_or(usize::MAX);
        Self {
            max_frame: max_frame.max(PRELOGIN_MAX_FRAME),
            window: welcome.window.min(MAX_FRAME),
            resume_window: Duration::from_millis(welcome.resume_window_ms.into()),
            heartbeat_limit: (!silence.is_zero()).then_some(silence),
            max_blob: welcome.max_blob,
            max_user_id: welcome.max_user_id,
        }
    }
}

/// Who the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Its life.
    pub instance: InstanceId,
    /// Its product and version, for people.
    pub product: String,
    /// Its clock at the login, if it told.
    pub time: Option<UnixMillis>,
}

/// What the last welcome gave, to log in again with.
#[derive(Debug)]
pub(super) struct Held {
    secret: ResumeSecret,
    ticket: Bytes,
    login_number: u64,
    resume_window: Duration,
    pub(super) rights: Rights,
    pub(super) server: Server,
    /// When the last link of the login was lost.
    pub(super) lost_at: Instant,
    /// The application was told that the session connects again.
    pub(super) rebuilding: bool,
}

impl Held {
    /// It is over: nobody logs in with the ticket any more (ESF-111).
    pub(super) fn forget_ticket(&mut self) {
        self.ticket = Bytes::new();
    }

    /// Whether the server may still hold the session.
    pub(super) fn is_resumable(&self, now: Instant) -> bool {
        now < self.lost_at + self.resume_window
    }
}

impl Config {
    /// Whether a login with it can be said at all.
    ///
    /// # Errors
    /// What is too large for a frame before login.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limit = PRELOGIN_MAX_FRAME;
        let resume = Resume { secret: ResumeSecret([0; 16]), received: 0 };
        let login = self.login(InstanceId(0), 0, true, 0, &[0; MAX_TICKET], Some(resume));
        if Frame::Login(login).encoded_len() > limit {
            return Err(ConfigError::LoginTooLarge { limit });
        }
        match &self.pre_query {
            Some(ask) if pre_query(ask).encoded_len() > limit => Err(ConfigError::PreQueryTooLarge { limit }),
            _ => Ok(()),
        }
    }

    fn login<'a>(
        &'a self,
        instance: InstanceId,
        attempt: u32,
        interactive: bool,
        login_number: u64,
        ticket: &'a [u8],
        resume: Option<Resume>,
    ) -> wire::Login<'a> {
        wire::Login {
            instance,
            attempt,
            interactive,
            takes_messages: self.takes_messages,
            device: self.device,
            heartbeat_ms: u32::try_from(self.heartbeat.as_millis()).unwrap_or(u32::MAX),
            login_number,
            user: &self.user,
            credential: wire::Credential { kind: self.credential.kind, bytes: &self.credential.bytes },
            system_token: &self.system_token,
            ticket,
            resume,
        }
    }
}

fn pre_query(ask: &PreQuery) -> Frame<'_> {
    Frame::PreQuery { info_type: ask.info_type, body: &ask.body }
}

impl Session {
    /// The question before login as a frame.
    pub(super) fn pre_query_frame(&mut self) -> Option<Bytes> {
        let ask = self.config.pre_query.as_ref()?;
        self.arena.encode(&pre_query(ask), Header::default()).ok()
    }

    /// The next login as a frame: interactive until one succeeded, with the session to go on with if there was one,
    /// also when the server may have forgotten it.
    pub(super) fn login_frame(&mut self) -> Option<Bytes> {
        self.attempt = self.attempt.saturating_add(1);
        let held = self.held.as_ref();
        let resume = held.map(|held| Resume { secret: held.secret, received: self.hop.counts().received });
        let login = self.config.login(
            self.me.instance,
            self.attempt,
            held.is_none(),
            held.map_or(0, |held| held.login_number),
            held.map_or(&[][..], |held| &held.ticket),
            resume,
        );
        self.arena.encode(&Frame::Login(login), Header::default()).ok()
    }

    /// The login has its result.
    pub(super) fn on_login_result(&mut self, result: &LoginResult<'_>) {
        match result {
            LoginResult::Succeed(welcome) => self.welcomed(welcome),
            LoginResult::Refused { result, cause } => {
                if let Some(link) = &mut self.link {
                    link.refusal = Some(Refusal { code: *result, cause: String::from(*cause) });
                }
                self.timers.clear(TimerKind::Login);
                self.timers.set(TimerKind::Closing, self.now + CLOSING);
            }
        }
    }

    fn welcomed(&mut self, welcome: &Welcome<'_>) {
        let limits = Limits::of(welcome);
        match (welcome.mode, &self.held) {
            (Mode::Resumed, None) => return self.violated(CloseReason::InvalidMessage),
            (Mode::Resumed, Some(_)) => {
                let budget = &self.budget;
                if self.hop.rewind(welcome.received, |cost| budget.release(cost)).is_err() {
                    return self.violated(CloseReason::InvalidMessage);
                }
                self.hop.set_window(limits.window);
                self.stats.resumes += 1;
            }
            (Mode::Fresh, _) => {}
        }
        let first = self.held.is_none();
        self.stats.logins += 1;
        self.limits = limits;
        self.held = Some(Held {
            secret: welcome.secret,
            ticket: Bytes::copy_from_slice(welcome.ticket),
            login_number: welcome.login_number,
            resume_window: limits.resume_window,
            rights: welcome.rights,
            server: Server {
                instance: welcome.server_instance,
                product: String::from(welcome.product),
                time: (welcome.server_time_ms > 0).then_some(UnixMillis(welcome.server_time_ms)),
            },
            lost_at: self.now,
            rebuilding: false,
        });
        if let Some(link) = &mut self.link {
            link.online_since = Some(self.now);
            // The server keeps the old secret valid until it hears from the new link.
            link.count_now = welcome.mode == Mode::Resumed;
        }
        self.timers.clear(TimerKind::Login);
        self.begin_heartbeats();
        self.set_state(On::Welcome, State::Online);
        self.tell(if first {
            let (mode, rights) = (welcome.mode, welcome.rights);
            Event::LoginCompleted { mode, login_number: welcome.login_number, rights }
        } else {
            Event::RelogonCompleted { code: LoginCode::Succeed, mode: Some(welcome.mode) }
        });
        self.fit_limits();
        self.receiving.on_link(self.now, welcome.mode == Mode::Resumed);
        if welcome.mode == Mode::Fresh {
            self.begin_session();
        }
    }

    /// A server may allow less than the last one did: what waits and is too large now comes to nothing.
    fn fit_limits(&mut self) {
        let max = self.limits.max_frame;
        let room = max.saturating_mul(2);
        if self.budget.limit() < room {
            let used = self.budget.used();
            self.budget = Budget::new(room);
            self.budget.force(used);
        }
        let mut refused = Vec::new();
        self.lanes.take_out(|waiting| waiting.len > max, |queued| refused.push(queued));
        for queued in refused {
            self.budget.release(queued.cost);
            let id = MessageId(queued.tag);
            if let Some(open) = self.pending.take(id) {
                self.tell(Event::Failed { id, failure: open.told_as(Failure::TooLarge) });
            } else if RawFrame::parse(queued.frame.clone()).is_ok_and(|raw| is_answer(&raw)) {
                self.stats.answers_dropped += 1;
            } else {
                self.tell_undeliverable(queued.frame, Failure::TooLarge);
            }
        }
    }

    /// The server has nothing of an older session. What was handed out in it and not counted is lost there: answers go
    /// again, certain sends go again under their old ids, ahead of what is queued, and the rest is told as lost.
    fn begin_session(&mut self) {
        let uncounted = self.hop.take_uncounted();
        self.hop = Hop::new(self.limits.window);
        self.inbox.begin_session();
        if broken!(DedupeForgotten) {
            self.senders = Default::default();
        }
        let mut answers = Vec::new();
        for (frame, cost) in uncounted {
            let Ok(raw) = RawFrame::parse(frame) else { continue };
            if is_answer(&raw) && raw.len() > self.limits.max_frame {
                self.budget.release(cost);
                self.stats.answers_dropped += 1;
            } else if is_answer(&raw) {
                answers.push(Queued { frame: raw.into_bytes(), deadline: None, cost, tag: 0 });
            } else {
                self.budget.release(cost);
                self.tell_undeliverable(raw.into_bytes(), Failure::ConnectionLost);
            }
        }
        for answer in answers.into_iter().rev() {
            self.lanes.push_front(Lane::Interactive, answer);
        }
        self.offer_again();
        let after = self.pending.after_fresh();
        for id in after.lost {
            if self.pending.take(id).is_some() {
                self.tell(Event::Failed { id, failure: Failure::ConnectionLost });
            }
        }
        let mut again = after.again;
        if !broken!(ResentBackwards) {
            again.reverse();
        }
        for resend in again {
            let (id, deadline) = (resend.id, resend.deadline);
            let Ok(raw) = RawFrame::parse(resend.frame) else { continue };
            if raw.len() > self.limits.max_frame {
                self.pending.take(id);
                self.tell(Event::Failed { id, failure: Failure::ConnectionLost });
                continue;
            }
            let frame = raw.again();
            let cost = frame.len();
            // Bounded by what open certain sends may hold.
            self.budget.force(cost);
            self.stats.resent += 1;
            self.lanes.push_front(Lane::Message, Queued { frame, deadline: Some(deadline), cost, tag: id.0 });
        }
    }
}
