//! One engine whose links come and go, and what may be known of its session beside it.
//!
//! Links are taken over, fenced and cut, and every link states the attempt, the secret and the count that the input
//! decides. The [`Known`] state says which of them gets the session, what it is sent again, and who is heard.

mod kept;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use esf_driver::{endpoint::Endpoint, store::StoreLimits};
use esf_proto::{
    close::CloseReason,
    ids::MessageId,
    login::{LoginCode, Mode, ResumeSecret},
    server::Config,
    time::Instant,
    wire::{Frame, LoginResult, RawFrame},
};

use self::kept::of_store;
use super::Input;
use crate::{
    raw::{LoginWith, RawLink},
    world::{Outcome, Who, World, user},
};

const STEPS: usize = 200;
const LINKS: usize = 5;
const WINDOW: Duration = Duration::from_secs(15);
/// How long the attempt of an engine is remembered whose session has ended.
const REMEMBERED: Duration = Duration::from_secs(60);
/// What may pass in one run, so that a run has an end.
const TIME: Duration = Duration::from_secs(600);
/// Counts come within 100 ms, and all that rita can say is less than three windows.
const IN_TIME: Duration = Duration::from_millis(300);
const AGES: Duration = Duration::from_secs(400);
const RITA: u64 = 77;
/// What pam says for the store, waits so long for rita, or longer than her session does.
const TTL: Duration = Duration::from_secs(10);

/// Runs rita, whose links the input decides, and pam, who talks with her.
///
/// # Panics
/// If a link gets what is not its own, something is lost in a session that goes on, or somebody is heard who is fenced.
pub fn resume_and_takeover(data: &[u8]) {
    let mut input = Input::new(data);
    let config = Config { resume_window: WINDOW, window: 4 << 10, ..Config::default() };
    // Nothing becomes a dead letter.
    let mut limits = StoreLimits::default();
    limits.max_tries = u8::MAX;
    let mut world = World::with_store_and(limits, config);
    let pam = world.join("pam");
    let mut run = Run {
        world,
        pam,
        links: Vec::new(),
        known: Known::default(),
        said: 0,
        stored: BTreeMap::new(),
        confirmed: BTreeSet::new(),
        to_pam: Vec::new(),
        waits_since: None,
        passed: Duration::ZERO,
    };
    for _ in 0..STEPS {
        if input.is_over() {
            break;
        }
        if !run.step(&mut input) {
            break;
        }
        run.look();
    }
    run.end();
}

/// What must be so at the server.
#[derive(Default)]
struct Known {
    /// The highest attempt seen, if that is remembered.
    attempt: Option<u32>,
    /// When the last session ended.
    ended_at: Instant,
    /// There is a session.
    lives: bool,
    /// The link that has it, by its number.
    holder: Option<u64>,
    lost_at: Instant,
    secret: Option<ResumeSecret>,
    old: Option<ResumeSecret>,
    /// Counted frames that went out in it, each once, and where the holder is in them.
    sent: Vec<RawFrame>,
    acked: usize,
    at: usize,
    /// Bytes of messages among them.
    windowed: u32,
    /// Counted frames of rita that it holds.
    received: u32,
}

/// One of rita's links.
struct Line {
    number: u64,
    raw: RawLink,
    logged_in: bool,
    closed: bool,
}

struct Run {
    world: World,
    pam: Who,
    links: Vec<Line>,
    known: Known,
    said: u64,
    /// What pam said that is to be stored if rita is not there.
    stored: BTreeMap<u64, MessageId>,
    /// Of that, what rita has confirmed.
    confirmed: BTreeSet<u64>,
    /// What pam must have got, in order, but for what waits since then.
    to_pam: Vec<String>,
    waits_since: Option<Instant>,
    passed: Duration,
}

impl Run {
    /// One thing happens; `false` if rita can do nothing any more.
    fn step(&mut self, input: &mut Input<'_>) -> bool {
        match input.below(16) {
            0 | 1 => self.open(),
            2..=5 => self.log_in(input),
            6 | 7 => self.pam_says(input),
            8 | 9 => self.rita_says(input),
            10 => self.rita_confirms(input),
            11 => self.counts(input),
            12 => self.cut(input),
            13 => self.pass(input.duration()),
            14 if input.rarely(4) => self.leaves(input),
            15 if input.rarely(8) => {
                self.is_pushed_out();
                return false;
            }
            _ => self.pass(Duration::from_millis(input.byte().into())),
        }
        true
    }

    fn open(&mut self) {
        if self.links.len() == LINKS {
            let oldest = self.links.remove(0);
            self.lost(oldest.number, CloseReason::NetworkInterrupted);
            oldest.raw.drop_link(&mut self.world);
        }
        let raw = RawLink::open(&self.world, "rita", RITA);
        let number = self.links.last().map_or(1, |line| line.number + 1);
        self.links.push(Line { number, raw, logged_in: false, closed: false });
    }

    // Logins.

    fn log_in(&mut self, input: &mut Input<'_>) {
        let Some(place) = self.links.iter().rposition(|line| !line.logged_in && !line.closed) else {
            return self.open();
        };
        self.expire();
        let last = self.known.attempt.unwrap_or(0);
        let attempt = match input.below(6) {
            0 => last,
            1 => input.number32(),
            _ => last.saturating_add(1),
        };
        let shown = match input.below(8) {
            0 => None,
            1 => Some(ResumeSecret([input.byte(); 16])),
            2 => self.known.old,
            _ => self.known.secret,
        };
        let counted = match input.below(6) {
            0 => input.number32(),
            1 => number(self.known.at),
            _ => number(self.known.acked + input.below(self.known.sent.len() - self.known.acked + 1)),
        };
        let resume = shown.map(|secret| (secret, counted));
        let Self { world, links, .. } = self;
        let line = &mut links[place];
        let interactive = attempt % 2 == 0;
        let frame = line.raw.login_frame(LoginWith { attempt, interactive, resume, ..LoginWith::default() });
        line.raw.push(world, frame);
        self.placed(place, attempt, resume);
    }

    /// What must have become of a login, and what has.
    fn placed(&mut self, place: usize, attempt: u32, resume: Option<(ResumeSecret, u32)>) {
        let line = &mut self.links[place];
        let mut frames = line.raw.take_received();
        let known = &mut self.known;
        if known.attempt.is_some_and(|last| attempt <= last) {
            assert_eq!(line.raw.closed(), Some(CloseReason::Superseded), "a stale attempt");
            line.closed = true;
            return;
        }
        known.attempt = Some(attempt);
        let resume = resume.filter(|(shown, _)| known.lives && [known.secret, known.old].contains(&Some(*shown)));
        if let Some((_, counted)) = resume
            && !(known.acked..=known.sent.len()).contains(&(counted as usize))
        {
            assert_eq!(line.raw.closed(), Some(CloseReason::InvalidMessage), "an impossible count");
            line.closed = true;
            return;
        }
        assert!(!frames.is_empty(), "a login of attempt {attempt} is answered");
        let welcome = frames.remove(0);
        let Ok(Frame::LoginResult(LoginResult::Succeed(welcome))) = welcome.decode() else {
            panic!("{:?} is no welcome", welcome.decode());
        };
        line.logged_in = true;
        match resume {
            Some((shown, counted)) => {
                assert_eq!((welcome.mode, welcome.received), (Mode::Resumed, known.received));
                (known.acked, known.at) = (counted as usize, counted as usize);
                known.old = Some(shown);
            }
            None => {
                assert_eq!((welcome.mode, welcome.received), (Mode::Fresh, 0));
                let attempt = known.attempt;
                *known = Known { attempt, ..Known::default() };
            }
        }
        known.lives = true;
        known.holder = Some(line.number);
        known.secret = Some(welcome.secret);
        self.gets(place, frames);
    }

    // Frames.

    fn pam_says(&mut self, input: &mut Input<'_>) {
        self.said += 1;
        let text = format!("{}", self.said);
        match input.below(4) {
            0 => drop(self.world.send_certainly(self.pam, "rita", &text)),
            2 => {
                let ttl = if input.flag() { TTL } else { TTL * 4 };
                let id = self.world.send_stored(self.pam, &user("rita"), &text, ttl);
                self.stored.insert(self.said, id);
            }
            _ => self.world.send(self.pam, "rita", &text),
        }
        self.world.run();
    }

    /// Rita says something on any of her links; she is heard on the one that has the session.
    fn rita_says(&mut self, input: &mut Input<'_>) {
        let Some(place) = self.some_link(input) else { return };
        self.said += 1;
        let text = format!("r{}", self.said);
        let line = &mut self.links[place];
        let heard = self.known.holder == Some(line.number);
        let frame = line.raw.plain("pam", &text);
        if heard {
            self.to_pam.push(text);
            self.known.received += 1;
            self.known.old = None;
        }
        line.raw.push(&mut self.world, frame);
        if !line.logged_in {
            // Nobody sends a message before the login.
            line.closed = true;
        }
    }

    fn counts(&mut self, input: &mut Input<'_>) {
        let Some(place) = self.some_link(input) else { return };
        let line = &mut self.links[place];
        let known = &mut self.known;
        let received = if input.rarely(4) {
            input.number32()
        } else {
            number(known.acked + input.below(known.at.max(known.acked) - known.acked + 1))
        };
        let heard = known.holder == Some(line.number);
        let frame = Frame::Count { received, taken: known.windowed };
        line.raw.send(&mut self.world, &frame);
        if !line.logged_in {
            line.closed = true;
        } else if heard && (known.acked..=known.at).contains(&(received as usize)) {
            known.acked = received as usize;
            known.old = None;
        } else if heard {
            assert_eq!(line.raw.closed(), Some(CloseReason::InvalidMessage), "an impossible count");
            line.closed = true;
            let number = line.number;
            self.lost(number, CloseReason::InvalidMessage);
        }
    }

    fn some_link(&self, input: &mut Input<'_>) -> Option<usize> {
        let holder = self.links.iter().position(|line| Some(line.number) == self.known.holder);
        let any = (!self.links.is_empty()).then(|| input.below(self.links.len()));
        if input.rarely(3) { any } else { holder.or(any) }.filter(|place| !self.links[*place].closed)
    }

    // Ends.

    fn cut(&mut self, input: &mut Input<'_>) {
        if self.links.is_empty() {
            return;
        }
        let line = self.links.remove(input.below(self.links.len()));
        self.lost(line.number, CloseReason::NetworkInterrupted);
        line.raw.drop_link(&mut self.world);
    }

    /// Rita logs off on any of her links.
    fn leaves(&mut self, input: &mut Input<'_>) {
        let Some(place) = self.some_link(input) else { return };
        let line = &mut self.links[place];
        let reason = CloseReason::LoggedOff;
        line.raw.send(&mut self.world, &Frame::Close { reason, text: "" });
        line.closed = true;
        let number = line.number;
        self.lost(number, reason);
    }

    /// The link is gone for this reason: the session sleeps or ends if it was that link's.
    fn lost(&mut self, number: u64, reason: CloseReason) {
        if self.known.holder != Some(number) {
            return;
        }
        self.known.holder = None;
        self.known.lost_at = self.world.now;
        if reason.ends_session() {
            self.forget(self.world.now);
        }
    }

    fn expire(&mut self) {
        let known = &mut self.known;
        let window_ends = known.lost_at + WINDOW;
        if known.lives && known.holder.is_none() && self.world.now >= window_ends {
            self.forget(window_ends);
        }
        if !self.known.lives && self.world.now >= self.known.ended_at + REMEMBERED {
            self.known.attempt = None;
        }
    }

    fn forget(&mut self, ended_at: Instant) {
        let attempt = self.known.attempt;
        self.known = Known { attempt, ended_at, ..Known::default() };
    }

    fn pass(&mut self, duration: Duration) {
        self.passed += duration;
        if self.passed > TIME {
            return;
        }
        let end = self.world.now + duration;
        while self.world.now < end {
            let due = self.links.iter().filter_map(|line| line.raw.conn.poll_timeout()).min();
            let next = due.map_or(end, |due| due.clamp(self.world.now, end));
            self.world.advance(next.since(self.world.now));
            for line in &mut self.links {
                line.raw.fire(&mut self.world);
            }
            self.look();
        }
        self.expire();
    }

    /// Another engine of rita logs in: this one is out, and told so when it comes back.
    fn is_pushed_out(&mut self) {
        self.expire();
        let lived = self.known.lives;
        let other = RawLink::join(&mut self.world, "rita", RITA + 1);
        if !lived {
            return;
        }
        let holder = self.known.holder.take();
        self.forget(self.world.now);
        for line in self.links.iter_mut().filter(|line| Some(line.number) == holder) {
            line.raw.pump(&mut self.world);
            assert_eq!(line.raw.closed(), Some(CloseReason::PushedOut));
            line.closed = true;
        }
        let Some(attempt) = self.known.attempt.unwrap_or(0).checked_add(1) else { return };
        let mut late = RawLink::open(&self.world, "rita", RITA);
        let refused = late.login(&mut self.world, LoginWith { attempt, interactive: false, ..LoginWith::default() });
        assert_eq!(refused, Err(Some(LoginCode::HadLoggedOn)));
        assert!(other.is_open(), "whoever took the place keeps it");
    }

    // What comes out.

    /// Everything that came on any link is what that link was to get.
    fn look(&mut self) {
        for place in 0..self.links.len() {
            self.links[place].raw.pump(&mut self.world);
            let frames = self.links[place].raw.take_received();
            self.gets(place, frames);
            let line = &mut self.links[place];
            if let (false, Some(reason)) = (line.closed, line.raw.closed()) {
                line.closed = true;
                let number = line.number;
                let fenced = self.known.holder != Some(number) && line.logged_in;
                assert_eq!(fenced, reason == CloseReason::Superseded, "link {number} is closed for {reason:?}");
                self.lost(number, reason);
            }
        }
        let got = self.world.texts(self.pam);
        assert!(self.to_pam.starts_with(&got), "pam gets what rita said on the link that has the session, not {got:?}");
        // What she has not got waits in her window, which each of her counts opens.
        let whole = got.len() == self.to_pam.len();
        let since = *self.waits_since.get_or_insert(self.world.now);
        self.waits_since = (!whole).then_some(since);
        assert!(whole || self.world.now < since + IN_TIME, "pam has only {got:?}");
    }

    fn gets(&mut self, place: usize, frames: Vec<RawFrame>) {
        let number = self.links[place].number;
        for frame in frames.into_iter().filter(RawFrame::is_counted) {
            let known = &mut self.known;
            assert_eq!(known.holder, Some(number), "only the link that has the session gets frames of it");
            match known.sent.get(known.at) {
                Some(before) => assert_eq!(*before, frame, "what is missing comes again as it was, in its order"),
                None => {
                    let (before, texts) = (&known.sent, known.sent.iter().filter_map(text_of));
                    let mut kept = before.iter().filter_map(of_store);
                    if let Some(text) = text_of(&frame) {
                        assert!(texts.max() < Some(text), "pam's messages come in order, each once");
                        assert!(!kept.any(|(_, of)| of == text), "a message comes from the store and from its sender");
                    } else if let Some((id, text)) = of_store(&frame) {
                        assert!(kept.all(|(of, _)| of < id), "messages of the store come in its order, each once");
                        assert!(
                            !texts.into_iter().any(|of| of == text),
                            "a message comes from its sender and from the store"
                        );
                        assert!(!self.confirmed.contains(&text), "what was confirmed came again");
                    }
                    if frame.is_windowed() {
                        known.windowed += u32::try_from(frame.len()).expect("small");
                    }
                    known.sent.push(frame);
                }
            }
            known.at += 1;
        }
    }

    /// Everybody leaves: nothing is left, and pam hears what became of everything.
    fn end(mut self) {
        for line in self.links.drain(..) {
            line.raw.drop_link(&mut self.world);
        }
        self.world.advance(AGES);
        assert_eq!(self.world.texts(self.pam), self.to_pam);
        assert_eq!((self.world.node.held_bytes(), self.world.session(self.pam).open_operations()), (0, 0));
        self.rita_gets_the_rest();
        let told = self.world.send_certainly(self.pam, "", "still there");
        self.world.run();
        assert_eq!(self.world.outcome(self.pam, told), Some(Outcome::Acked));
        let stats = self.world.session(self.pam).stats();
        assert_eq!((stats.connects, stats.violations), (1, 0), "pam's first link still stands");
    }
}

fn text_of(frame: &RawFrame) -> Option<u64> {
    match frame.decode() {
        Ok(Frame::Send { body, .. } | Frame::Certain { body, .. }) => std::str::from_utf8(body).ok()?.parse().ok(),
        _ => None,
    }
}

fn number(len: usize) -> u32 {
    u32::try_from(len).expect("few")
}
