//! What an honest server knows of its hop with a client, and what it therefore finds wrong.

use std::collections::BTreeMap;

use bytes::Bytes;
use esf_proto::{
    client::State,
    ids::Engine,
    login::Mode,
    session::blob::{FRAGMENT, STREAM_WINDOW},
    wire::{Address, Direction, Frame, Frames, LoginResult, PRELOGIN_MAX_FRAME, RawFrame, Welcome},
};

use crate::fuzz::Input;

/// The server's side of the counts.
pub(super) struct Peer {
    me: Engine,
    /// There is a session to resume.
    held: bool,
    link: Link,
    /// Counted frames that came in this session, each once.
    came: Vec<Bytes>,
    /// How many of them the server has counted.
    acked: usize,
    /// Where the client is in them on this link.
    at: usize,
    /// Bytes of messages that came, and how many of them the server said are taken.
    windowed: u32,
    taken: u32,
    window: u32,
    last_certain: u64,
    /// Counted frames, and bytes of messages, that went to the client in this session.
    gave: u32,
    gave_windowed: u32,
    told_taken: u32,
    /// Of the client's own streams: how far it came.
    streams: BTreeMap<u64, u64>,
}

/// What is new with each link.
#[derive(Default)]
struct Link {
    login_sent: bool,
    answered: bool,
    welcomed: bool,
    credits: BTreeMap<u64, u64>,
}

impl Peer {
    pub(super) fn new(me: Engine) -> Self {
        Self {
            me,
            held: false,
            link: Link::default(),
            came: Vec::new(),
            acked: 0,
            at: 0,
            windowed: 0,
            taken: 0,
            window: 0,
            last_certain: 0,
            gave: 0,
            gave_windowed: 0,
            told_taken: 0,
            streams: BTreeMap::new(),
        }
    }

    pub(super) fn begin_link(&mut self) {
        self.link = Link::default();
    }

    /// A count of frames that the server may state.
    pub(super) fn some_count(&self, input: &mut Input<'_>) -> u32 {
        let most = if self.link.welcomed { self.at } else { self.came.len() };
        number(self.acked + input.below(most - self.acked + 1))
    }

    /// The bytes that it may say are taken.
    pub(super) fn some_taken(&self, input: &mut Input<'_>) -> u32 {
        if input.flag() { self.windowed } else { self.taken }
    }

    pub(super) fn streams(&self) -> Vec<u64> {
        self.streams.keys().copied().collect()
    }

    pub(super) fn reached(&self, stream: u64) -> u64 {
        self.streams.get(&stream).copied().unwrap_or(0)
    }

    // To the client.

    /// The server sends this; says whether a server that keeps to the rules of the hop may.
    pub(super) fn gives(&mut self, message: &Bytes, state: State) -> bool {
        let mut may = true;
        for frame in Frames::new(message.clone(), usize::MAX) {
            let Ok(frame) = frame else { return false };
            may &= self.gives_frame(&frame, state);
        }
        may
    }

    fn gives_frame(&mut self, frame: &RawFrame, state: State) -> bool {
        let online = self.link.welcomed && matches!(state, State::Online | State::LoggingOff);
        if frame.is_routed() {
            return self.gives_routed(frame) && online && frame.decode().is_ok();
        }
        let Ok(decoded) = frame.decode() else { return false };
        match decoded {
            Frame::LoginResult(result) => self.gives_result(&result),
            Frame::Count { received, taken } => online && self.counts(received, taken),
            Frame::Credit { stream, offset } => {
                let credit = self.link.credits.entry(stream).or_default();
                *credit = offset.max(*credit);
                online
            }
            Frame::Fragment { .. } | Frame::HeartbeatAck { .. } => online,
            _ => false,
        }
    }

    fn gives_routed(&mut self, frame: &RawFrame) -> bool {
        if frame.is_counted() {
            self.gave = self.gave.wrapping_add(1);
        }
        if !frame.is_windowed() {
            return true;
        }
        let out = self.gave_windowed.wrapping_sub(self.told_taken);
        self.gave_windowed = self.gave_windowed.wrapping_add(number(frame.len()));
        out == 0 || out.saturating_add(number(frame.len())) <= self.window
    }

    fn gives_result(&mut self, result: &LoginResult<'_>) -> bool {
        let first = self.link.login_sent && !std::mem::replace(&mut self.link.answered, true);
        match result {
            LoginResult::Succeed(welcome) => first && self.welcomes(welcome),
            LoginResult::Refused { .. } => first,
        }
    }

    fn welcomes(&mut self, welcome: &Welcome<'_>) -> bool {
        let received = welcome.received as usize;
        match welcome.mode {
            Mode::Fresh => {
                self.came.clear();
                (self.acked, self.at) = (0, 0);
                (self.windowed, self.taken, self.last_certain) = (0, 0, 0);
                (self.gave, self.gave_windowed, self.told_taken) = (0, 0, 0);
            }
            Mode::Resumed if self.held && (self.acked..=self.came.len()).contains(&received) => {
                (self.acked, self.at) = (received, received);
            }
            Mode::Resumed => return false,
        }
        (self.held, self.link.welcomed, self.window) = (true, true, welcome.window.min(64 << 20));
        true
    }

    fn counts(&mut self, received: u32, taken: u32) -> bool {
        let frames = received as usize;
        let sound = (self.acked..=self.at).contains(&frames)
            && taken.wrapping_sub(self.taken) <= self.windowed.wrapping_sub(self.taken);
        if sound {
            (self.acked, self.taken) = (frames, taken);
        }
        sound
    }

    // From the client.

    /// The client hands this out.
    pub(super) fn gets(&mut self, bytes: &Bytes, max_frame: usize, has_confirmed: &dyn Fn(u64) -> bool) {
        let frame = RawFrame::parse(bytes.clone()).expect("a client sends whole frames");
        let decoded = frame.decode().expect("a client sends sound frames");
        let kind = decoded.kind();
        assert!(kind.direction() != Direction::ToClient, "a client does not send {kind:?}");
        match decoded {
            Frame::Login(login) => {
                assert!(!self.link.login_sent && bytes.len() <= PRELOGIN_MAX_FRAME);
                assert_eq!(login.resume.is_some(), self.held);
                self.link.login_sent = true;
                let received = login.resume.map_or(0, |resume| resume.received);
                assert!(received <= self.gave, "it states frames that it never got");
            }
            Frame::Count { received, taken } => {
                assert!(received <= self.gave, "it counts frames that it never got");
                assert!(taken <= self.gave_windowed, "it takes bytes that it never got");
                self.told_taken = taken;
            }
            Frame::Fragment { stream, offset, last: _, data } => {
                let credit = self.link.credits.get(&stream).expect("a fragment goes out under credit");
                assert!(offset + data.len() as u64 <= credit + STREAM_WINDOW && data.len() <= FRAGMENT);
                let reached = self.streams.entry(stream).or_default();
                *reached = (offset + data.len() as u64).max(*reached);
            }
            Frame::Confirm { envelope } => assert!(has_confirmed(envelope.id), "{} was not handled", envelope.id),
            Frame::BlobOffer { stream, .. } => _ = self.streams.entry(stream).or_default(),
            _ => {}
        }
        if let Some(envelope) = decoded.envelope() {
            assert!(self.link.welcomed, "nothing is routed before the welcome");
            assert_eq!(envelope.from, Address::of_engine(&self.me), "a client writes its own name");
            // A session that goes on has the limit under which its frames went out first.
            let replayed = frame.is_counted() && self.at < self.came.len();
            assert!(replayed || frame.len() <= max_frame, "{} bytes are over {max_frame}", frame.len());
        }
        if frame.is_counted() {
            self.gets_counted(&frame, &decoded);
        }
    }

    fn gets_counted(&mut self, frame: &RawFrame, decoded: &Frame<'_>) {
        if let Some(before) = self.came.get(self.at) {
            assert_eq!(before, frame.bytes(), "what is missing comes again as it was, in its order");
            self.at += 1;
            return;
        }
        if frame.is_windowed() {
            let out = self.windowed.wrapping_sub(self.taken);
            let len = number(frame.len());
            assert!(out == 0 || out + len <= self.window, "{len} bytes beside {out} are over the window");
            self.windowed = self.windowed.wrapping_add(len);
        }
        if let Frame::Certain { envelope, .. } = decoded {
            assert!(envelope.id > self.last_certain, "certain messages go out in the order of their ids");
            self.last_certain = envelope.id;
        }
        self.came.push(frame.bytes().clone());
        self.at += 1;
        assert!(self.came.len() - self.acked <= 1 << 16);
    }
}

fn number(len: usize) -> u32 {
    u32::try_from(len).expect("less than 4 GiB")
}
