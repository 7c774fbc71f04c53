//! One accepted link: up to and during login, then whether it lives.

use alloc::{boxed::Box, collections::VecDeque, sync::Arc};
use core::time::Duration;

use bytes::Bytes;

use super::{
    Accepted, AppRequest, AppResponse, Config, Counters, LoginClaim, LoginRequest, Placed,
    transitions::{LinkState, check_link},
};
use crate::{
    close::CloseReason,
    failure::{Failure, Status},
    ids::{Engine, LinkId, UserId},
    login::{LoginCode, Mode, Rights},
    session::{
        timers::{TimerKind, Timers},
        transport::Transport,
    },
    time::Instant,
    wire::{DecodeError, Frame, Header, Kind, Login, LoginResult, MAX_TICKET, PRELOGIN_MAX_FRAME, RawFrame, Welcome},
};

/// A timer this late tells that the clock jumped or the process slept: the peer gets its time again.
const LATE: Duration = Duration::from_secs(2);
/// The shortest and the longest heartbeat interval.
const HEARTBEAT: core::ops::RangeInclusive<u32> = 1_000..=300_000;

/// One accepted link.
///
/// After any `&mut` call drain [`Link::poll_request`], [`Link::poll_login`], [`Link::poll_transmit`],
/// [`Link::poll_action`] and [`Link::poll_left`], then read [`Link::poll_timeout`].
#[derive(Debug)]
pub struct Link {
    id: LinkId,
    config: Arc<Config>,
    counters: Arc<Counters>,
    state: LinkState,
    timers: Timers,
    /// The latest time that it was told.
    now: Instant,
    heard: Instant,
    transport: Transport,
    liveness: Option<Duration>,
    /// Whether it was logged in once: its peer may send large frames, also while it closes.
    admitted: bool,
    /// In boxes, since a link logs in once.
    claim: Option<Box<LoginClaim>>,
    request: Option<Box<AppRequest>>,
    login: Option<Box<LoginClaim>>,
    out: VecDeque<Bytes>,
    action: Option<LinkAction>,
    ping: bool,
    left: Option<CloseReason>,
}

/// What the caller does to the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkAction {
    /// Send a WebSocket ping.
    Ping,
    /// Write out what was handed out, close with WebSocket code 4000 + reason, and let go.
    Close(CloseReason),
}

impl Link {
    /// A link that was accepted now. The login must be in within the login timeout.
    #[must_use]
    pub fn new(config: &Arc<Config>, counters: &Arc<Counters>, id: LinkId, now: Instant) -> Self {
        counters.links.add(1);
        let mut timers = Timers::default();
        timers.set(TimerKind::Login, now + config.login_timeout);
        Self {
            id,
            config: config.clone(),
            counters: counters.clone(),
            state: LinkState::Accepted,
            timers,
            now,
            heard: now,
            transport: Transport::default(),
            liveness: None,
            admitted: false,
            claim: None,
            request: None,
            login: None,
            out: VecDeque::new(),
            action: None,
            ping: false,
            left: None,
        }
    }

    /// The link's id.
    #[must_use]
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// The largest frame that it takes now: 8 KiB before login (ESF-002).
    #[must_use]
    pub fn max_frame(&self) -> usize {
        if self.admitted { self.config.max_frame as usize } else { PRELOGIN_MAX_FRAME }
    }

    /// The largest WebSocket message that it takes now (ESF-018).
    #[must_use]
    pub fn max_message(&self) -> usize {
        if self.admitted { self.max_frame() + 64 * 1024 } else { PRELOGIN_MAX_FRAME }
    }

    // Inputs.

    /// A frame came. Gives it back if it is for the session.
    #[inline]
    pub fn handle_frame(&mut self, now: Instant, frame: Result<RawFrame, DecodeError>) -> Option<RawFrame> {
        let now = self.clock(now);
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                self.close(error.close_reason());
                return None;
            }
        };
        match self.state {
            LinkState::Closing | LinkState::Closed => None,
            LinkState::Attached if frame.kind_byte() != Kind::Close as u8 => Some(frame),
            _ => {
                if let Err(reason) = self.before_login(now, &frame) {
                    self.close(reason);
                }
                None
            }
        }
    }

    /// A text message came: there are none in this protocol (ESF-021).
    pub fn handle_text(&mut self) {
        self.close(CloseReason::InvalidMessage);
    }

    /// What the transport has done since the link began.
    pub fn handle_transport(&mut self, now: Instant, transport: Transport) {
        let now = self.clock(now);
        if matches!(self.state, LinkState::Closing | LinkState::Closed) {
            return;
        }
        if transport.read != self.transport.read {
            self.heard = now;
        }
        if !transport.unflushed {
            self.timers.clear(TimerKind::Overflow);
        } else if transport.written != self.transport.written || self.timers.get(TimerKind::Overflow).is_none() {
            self.timers.set(TimerKind::Overflow, now + self.config.overflow);
        }
        self.transport = transport;
    }

    /// The transport is closed, by the peer with this WebSocket code if it told one.
    pub fn handle_closed(&mut self, code: Option<u16>) {
        if self.state == LinkState::Attached {
            let told = code.and_then(CloseReason::from_websocket_code);
            self.left = Some(told.unwrap_or(CloseReason::NetworkInterrupted));
        }
        if self.state != LinkState::Closed {
            self.forget();
            self.out.clear();
            self.action = None;
            self.set_state(LinkState::Closed);
        }
    }

    /// The application answers what [`Link::poll_request`] asked. Ignored when nobody waits for it any more.
    pub fn handle_response(&mut self, response: AppResponse) {
        match (self.state, response) {
            (LinkState::Authenticating, AppResponse::Accept(accepted)) => {
                if let Some(claim) = self.claim.take() {
                    let Accepted { rights, credential_version, login_number } = accepted;
                    let login_number = login_number.unwrap_or(claim.login_number);
                    self.login = Some(Box::new(LoginClaim { rights, credential_version, login_number, ..*claim }));
                    self.set_state(LinkState::LoggingIn);
                }
            }
            (LinkState::Authenticating, AppResponse::Refuse { cause }) => {
                self.counters.logins_refused.add(1);
                self.refuse(LoginCode::Failed, CloseReason::LoginFailed, &cause);
            }
            (LinkState::Authenticating | LinkState::Querying, AppResponse::Later { retry_after }) => {
                self.go_away(retry_after);
                self.close(CloseReason::GoingAway);
            }
            (LinkState::Authenticating | LinkState::Querying, AppResponse::TooOften { retry_after }) => {
                self.go_away(retry_after);
                self.close(CloseReason::RateLimited);
            }
            (LinkState::Querying, AppResponse::PreReply(answer)) => {
                let answer = answer.and_then(|body| {
                    let fits = Frame::PreReply { status: Ok(()), body: &body }.encoded_len() <= PRELOGIN_MAX_FRAME;
                    if fits { Ok(body) } else { Err(Failure::TooLarge) }
                });
                let (status, body): (Status, Bytes) = match answer {
                    Ok(body) => (Ok(()), body),
                    Err(failure) => (Err(failure), Bytes::new()),
                };
                self.push(&Frame::PreReply { status, body: &body });
                self.set_state(LinkState::Answered);
            }
            _ => {}
        }
    }

    /// The login has its place: tells the client and lets the session's frames through.
    pub fn handle_placed(&mut self, now: Instant, claim: &LoginClaim, placed: &Placed) {
        let now = self.clock(now);
        if self.state != LinkState::LoggingIn {
            return;
        }
        let config = self.config.clone();
        self.liveness = config.liveness_of(claim.heartbeat);
        self.push(&Frame::LoginResult(LoginResult::Succeed(Welcome {
            mode: if placed.resumed.is_some() { Mode::Resumed } else { Mode::Fresh },
            secret: placed.secret,
            received: placed.resumed.unwrap_or(0),
            login_number: placed.login_number,
            server_instance: placed.server,
            rights: claim.rights,
            max_frame: config.max_frame,
            window: config.window,
            resume_window_ms: millis(config.resume_window),
            heartbeat_limit_ms: self.liveness.map_or(0, millis),
            max_blob: config.max_blob,
            max_user_id: config.max_user_id,
            server_time_ms: placed.wall.0,
            product: first_bytes(&config.product, 255),
            ticket: if placed.ticket.len() <= MAX_TICKET { &placed.ticket } else { &[] },
        })));
        self.set_state(LinkState::Attached);
        self.timers.clear(TimerKind::Login);
        self.heard = now;
        self.admitted = true;
        if !self.config.ping_after.is_zero() {
            self.timers.set(TimerKind::Ping, now + self.config.ping_after);
        }
        if let Some(liveness) = self.liveness {
            self.timers.set(TimerKind::Liveness, now + liveness);
        }
    }

    /// The login gets no place: tells the client why and closes.
    pub fn refuse(&mut self, result: LoginCode, reason: CloseReason, cause: &str) {
        self.push(&Frame::LoginResult(LoginResult::Refused { result, cause: first_bytes(cause, 255) }));
        self.close(reason);
    }

    /// Asks the client to leave and to come back after a while. No-op if the link is closing already.
    pub fn go_away(&mut self, retry_after: Duration) {
        if matches!(self.state, LinkState::Closing | LinkState::Closed) {
            return;
        }
        self.push(&Frame::GoAway { retry_after_ms: millis(retry_after) });
    }

    /// Closes the link for `reason`: told as a frame and as a WebSocket code. No-op if it is closing already.
    pub fn close(&mut self, reason: CloseReason) {
        if matches!(self.state, LinkState::Closing | LinkState::Closed) {
            return;
        }
        self.counters.close(reason);
        self.push(&Frame::Close { reason, text: reason.text() });
        self.leave(reason);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock(now);
        while let Some((at, kind)) = self.timers.pop_due(now) {
            let late = now.since(at) > LATE;
            match kind {
                TimerKind::Login if late => {
                    self.counters.timers_late.add(1);
                    self.timers.set(TimerKind::Login, now + self.config.login_timeout);
                }
                TimerKind::Login => self.close(CloseReason::LoginTimeout),
                TimerKind::Liveness => self.check_liveness(now, late),
                TimerKind::Ping => {
                    let silent_at = self.heard + self.config.ping_after;
                    self.ping |= silent_at <= now;
                    let next = if silent_at <= now { now + self.config.ping_after } else { silent_at };
                    self.timers.set(TimerKind::Ping, next);
                }
                TimerKind::Overflow if late => {
                    self.counters.timers_late.add(1);
                    self.timers.set(TimerKind::Overflow, now + self.config.overflow);
                }
                TimerKind::Overflow => self.close(CloseReason::ChannelOverflow),
                _ => {}
            }
        }
    }

    /// Pings the peer: somebody wants to know whether it lives.
    pub fn ping(&mut self) {
        self.ping = true;
    }

    // Outputs.

    /// What the application is asked.
    #[must_use]
    pub fn poll_request(&mut self) -> Option<AppRequest> {
        self.request.take().map(|request| *request)
    }

    /// A login for the hub.
    #[must_use]
    pub fn poll_login(&mut self) -> Option<LoginClaim> {
        self.login.take().map(|login| *login)
    }

    /// The next frame of the link itself; before the session's.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.out.pop_front()
    }

    /// Nothing has moved for a while: gives the memory back that is kept only so that the next burst finds it.
    pub fn rest(&mut self) {
        self.out.shrink_to_fit();
    }

    /// What to do to the transport. A close is told at once, also while the transport takes nothing: the driver hands out
    /// what [`Link::poll_transmit`] still has before it closes, for as long as it is ready to wait for that.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<LinkAction> {
        if core::mem::take(&mut self.ping) && self.state == LinkState::Attached {
            return Some(LinkAction::Ping);
        }
        self.action.take()
    }

    /// Why the link let go of its session, once.
    #[must_use]
    pub fn poll_left(&mut self) -> Option<CloseReason> {
        self.left.take()
    }

    /// When [`Link::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        self.timers.next()
    }

    // Inside.

    fn before_login(&mut self, now: Instant, frame: &RawFrame) -> Result<(), CloseReason> {
        let first = matches!(self.state, LinkState::Accepted | LinkState::Answered);
        match frame.decode() {
            Ok(Frame::Close { reason, .. }) => {
                self.leave(reason);
                Ok(())
            }
            Ok(Frame::Login(login)) if first => self.begin_login(now, frame, &login),
            Ok(Frame::PreQuery { info_type, body }) if self.state == LinkState::Accepted => {
                self.request = Some(Box::new(AppRequest::PreQuery { info_type, body: frame.share(body) }));
                self.set_state(LinkState::Querying);
                Ok(())
            }
            Err(DecodeError::Version(version)) if first => {
                self.counters.logins_refused.add(1);
                let cause = alloc::format!("this server speaks version {}, not {version}", crate::wire::VERSION);
                self.refuse(LoginCode::VersionMismatched, CloseReason::VersionMismatched, &cause);
                Ok(())
            }
            // A login where none may be is not judged by what is in it.
            Err(DecodeError::Version(_) | DecodeError::UserId) if !first => Err(CloseReason::InvalidMessage),
            Err(error) if !error.is_skippable() => Err(error.close_reason()),
            _ => Err(CloseReason::InvalidMessage),
        }
    }

    fn begin_login(&mut self, now: Instant, frame: &RawFrame, login: &Login<'_>) -> Result<(), CloseReason> {
        let user = UserId::parse(login.user, self.config.max_user_id).map_err(|_| CloseReason::WrongUserId)?;
        if !self.config.devices.contains(&login.device) {
            self.counters.logins_refused.add(1);
            let cause = alloc::format!("device kind {} may not log in here", login.device);
            self.refuse(LoginCode::ClientTypeMismatched, CloseReason::UnauthorisedClientType, &cause);
            return Ok(());
        }
        if !HEARTBEAT.contains(&login.heartbeat_ms) {
            self.counters.logins_refused.add(1);
            let cause = "the heartbeat interval must be 1 s to 5 min";
            self.refuse(LoginCode::Failed, CloseReason::LoginFailed, cause);
            return Ok(());
        }
        let request = LoginRequest {
            user: user.clone(),
            device: login.device,
            credential_kind: login.credential.kind,
            credential: frame.share(login.credential.bytes),
            system_token: frame.share(login.system_token),
            ticket: frame.share(login.ticket),
            interactive: login.interactive,
            address: None,
        };
        self.claim = Some(Box::new(LoginClaim {
            engine: Engine { user, device: login.device, instance: login.instance },
            attempt: login.attempt,
            interactive: login.interactive,
            login_number: login.login_number,
            takes_messages: login.takes_messages,
            rights: Rights::NONE,
            credential_version: 0,
            resume: login.resume,
            heartbeat: Duration::from_millis(login.heartbeat_ms.into()),
        }));
        self.request = Some(Box::new(AppRequest::Authenticate(request)));
        self.set_state(LinkState::Authenticating);
        // The login is in; from here on the application has as long again to answer.
        self.timers.set(TimerKind::Login, now + self.config.login_timeout);
        Ok(())
    }

    fn check_liveness(&mut self, now: Instant, late: bool) {
        let Some(limit) = self.liveness else { return };
        if late {
            self.counters.timers_late.add(1);
            self.heard = now;
        }
        let deadline = self.heard + limit;
        if deadline <= now {
            self.close(CloseReason::HeartbeatTimeout);
        } else {
            self.timers.set(TimerKind::Liveness, deadline);
        }
    }

    fn leave(&mut self, reason: CloseReason) {
        if matches!(self.state, LinkState::Closing | LinkState::Closed) {
            return;
        }
        if self.state == LinkState::Attached {
            self.left = Some(reason);
        }
        self.forget();
        self.action = Some(LinkAction::Close(reason));
        self.set_state(LinkState::Closing);
    }

    /// Nothing is waited for any more.
    fn forget(&mut self) {
        self.timers = Timers::default();
        self.request = None;
        self.login = None;
        self.claim = None;
        self.ping = false;
    }

    fn push(&mut self, frame: &Frame<'_>) {
        if let Ok(bytes) = frame.to_bytes(Header::default()) {
            self.out.push_back(bytes);
        }
    }

    #[inline]
    fn clock(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn set_state(&mut self, to: LinkState) {
        check_link(self.state, to);
        self.state = to;
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// As much of a text as fits into so many bytes.
fn first_bytes(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
