//! One TCP connection to a server, from its first byte on.

use std::task::Waker;

use esf_driver::{
    http::{Head, HeadReader, Verdict, judge, may_be_request},
    node::Conn,
    pump::{LinkPump, Pump},
    socket::{Incoming, SocketError},
};
use esf_proto::{
    ids::{DeviceKind, Engine, InstanceId, UserId},
    login::CredentialKind,
    time::Instant,
    wire::{Address, Credential, Direction, Frame, Frames, Header, Login},
};

use super::{REQUEST, is_an_answer, rules, websocket};
use crate::{
    fuzz::{
        Input,
        frames::{Cast, encoded},
    },
    world::World,
};

/// What its client reads in one go.
const LARGEST: usize = 128 << 10;

pub(super) struct Line {
    head: HeadReader,
    link: Option<LinkPump<Conn>>,
    /// Refused, or ended.
    over: bool,
    /// Whether the client reads what the server sends.
    pub(super) reads: bool,
    /// What reads it.
    client: Pump,
}

impl Line {
    pub(super) fn new() -> Self {
        let head = HeadReader::new(may_be_request);
        Self { head, link: None, over: false, reads: true, client: Pump::client(LARGEST) }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.link.as_ref()?.poll_timeout()
    }

    /// Bytes come.
    pub(super) fn bytes(&mut self, world: &mut World, bytes: &[u8]) {
        if self.over {
            return;
        }
        if let Some(link) = &mut self.link {
            link.handle_bytes(world.now, bytes);
            return self.serve(world);
        }
        let (head, rest) = match self.head.handle_bytes(bytes) {
            None => return,
            Some(Head::Whole { head, rest }) => (head, rest),
            Some(_) => {
                self.over = true;
                return;
            }
        };
        let verdict = judge(&head, &rules());
        is_an_answer(&verdict);
        self.over = !matches!(verdict, Verdict::Upgrade { .. });
        if !self.over {
            let mut link = LinkPump::server(Conn::accept(&world.node, world.now), rest, false);
            link.handle_timeout(world.now);
            self.link = Some(link);
            self.serve(world);
        }
    }

    /// A client says something: a login, frames, or anything.
    pub(super) fn says(&mut self, world: &mut World, input: &mut Input<'_>) {
        if self.link.is_none() && !self.over {
            self.bytes(world, REQUEST);
        }
        let me = Engine {
            user: UserId::parse("mallory", 255).expect("a name"),
            device: DeviceKind(input.below(2) as u8),
            instance: InstanceId(60 + input.below(2) as u64),
        };
        let mut bytes = Vec::new();
        match input.below(4) {
            0 => {
                let login = Frame::Login(Login {
                    instance: me.instance,
                    attempt: input.number32(),
                    interactive: true,
                    takes_messages: true,
                    device: me.device,
                    heartbeat_ms: 5_000,
                    login_number: 0,
                    user: &me.user,
                    credential: Credential { kind: CredentialKind::Password, bytes: b"" },
                    system_token: b"",
                    ticket: b"",
                    resume: None,
                });
                let login = login.to_bytes(Header::default()).expect("a login");
                websocket::frame(input, &login, &mut bytes);
            }
            1 => websocket::frame(input, b"", &mut bytes),
            _ => {
                let to = vec![
                    Address::User { user: "ann" },
                    Address::User { user: "mallory" },
                    Address::Server { instance: 0 },
                ];
                let from = vec![Address::Engine { user: "mallory", device: me.device, instance: me.instance }; 4];
                let cast = Cast { from, to, ids: vec![1, 2, 3], streams: vec![1, 2] };
                let frame = cast.frame(input);
                if let Some(frame) = encoded(&frame, input) {
                    websocket::frame(input, &frame, &mut bytes);
                }
            }
        }
        // In two pieces, as a network cuts them.
        let (first, rest) = bytes.split_at(bytes.len().min(usize::from(input.byte())));
        self.bytes(world, first);
        self.bytes(world, rest);
    }

    /// Does what there is to do, and reads what the server said.
    pub(super) fn serve(&mut self, world: &mut World) {
        let Some(link) = &mut self.link else { return };
        let mut buffer = Vec::new();
        loop {
            link.register(Waker::noop());
            link.handle_timeout(world.now);
            if let Some(request) = link.endpoint_mut().poll_request() {
                link.endpoint_mut().handle_response(world.now, world.accounts.answer(request));
                continue;
            }
            world.meet(link.endpoint().cell());
            if !self.reads || !link.poll_bytes(&mut buffer) {
                break;
            }
            self.client.handle_bytes(&buffer);
            link.handle_written(world.now);
        }
        loop {
            match self.client.poll_incoming() {
                Ok(Some(Incoming::Message(message))) => {
                    for frame in Frames::new(message, LARGEST) {
                        let frame = frame.expect("the server sends whole frames");
                        let decoded = frame.decode().expect("the server sends sound frames");
                        assert!(decoded.kind().direction() != Direction::ToServer, "{decoded:?}");
                    }
                }
                Ok(Some(Incoming::Text)) => panic!("a server sends no text"),
                Ok(Some(_)) => {}
                Ok(None) | Err(SocketError::Ended) => break,
                Err(error) => panic!("the server is no WebSocket: {error}"),
            }
        }
        if link.end().is_some() {
            self.over = true;
            self.link = None;
        }
    }

    /// The connection breaks.
    pub(super) fn end(mut self, world: &mut World) {
        self.serve(world);
        if let Some(link) = &mut self.link {
            link.handle_end(world.now);
            assert!(link.end().is_some(), "a link whose connection broke has ended");
        }
        drop(self);
        world.run();
    }
}
