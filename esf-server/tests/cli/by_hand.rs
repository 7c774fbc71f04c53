//! A client made by hand, for what no honest one does.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use esf_proto::{
    ids::{DeviceKind, InstanceId},
    login::CredentialKind,
    wire::{Address, Credential, Envelope, Frame, Header, Kind, Login, RawFrame, SUBPROTOCOL},
};

/// A link of a client that is logged in.
pub(crate) struct Link {
    stream: TcpStream,
    user: String,
    instance: u64,
    frames: VecDeque<RawFrame>,
}

impl Link {
    pub(crate) fn log_in(address: &str, user: &str, instance: u64) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: \
             {SUBPROTOCOL}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", head.escape_ascii());
        let mut link = Self { stream, user: user.to_owned(), instance, frames: VecDeque::new() };
        link.push(&Frame::Login(Login {
            instance: InstanceId(instance),
            attempt: 1,
            interactive: true,
            takes_messages: true,
            device: DeviceKind::SERVICE,
            heartbeat_ms: 60_000,
            login_number: 0,
            user,
            credential: Credential { kind: CredentialKind::None, bytes: b"" },
            system_token: b"",
            ticket: b"",
            resume: None,
        }));
        link
    }

    /// Says that a stored message was handled.
    pub(crate) fn confirm(&mut self, id: u64) {
        let user = self.user.clone();
        let from = Address::Engine { user: &user, device: DeviceKind::SERVICE, instance: InstanceId(self.instance) };
        self.push(&Frame::Confirm { envelope: Envelope::new(Address::Server { instance: 0 }, from, id) });
    }

    /// The number of the next frame of this kind.
    pub(crate) fn next_of(&mut self, kind: Kind) -> u64 {
        loop {
            while let Some(frame) = self.frames.pop_front() {
                if frame.kind() == Some(kind) {
                    return frame.envelope().unwrap().id;
                }
            }
            self.receive();
        }
    }

    /// In one WebSocket message, masked with a key that changes nothing.
    fn push(&mut self, frame: &Frame<'_>) {
        let bytes = frame.to_bytes(Header::default()).unwrap();
        let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let head = [0x82, 0x80 | 126, len[0], len[1], 0, 0, 0, 0];
        self.stream.write_all(&[&head[..], &bytes].concat()).unwrap();
    }

    /// One WebSocket message.
    fn receive(&mut self) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        assert_eq!(head[0], 0x82, "a binary message");
        let len = match head[1] {
            126 => {
                let mut len = [0; 2];
                self.stream.read_exact(&mut len).unwrap();
                u16::from_be_bytes(len).into()
            }
            short => usize::from(short),
        };
        let mut message = vec![0; len];
        self.stream.read_exact(&mut message).unwrap();
        let mut rest = &message[..];
        while !rest.is_empty() {
            let len = 4 + u32::from_le_bytes(*rest.first_chunk().unwrap()) as usize;
            self.frames.push_back(RawFrame::parse(rest[..len].to_vec().into()).unwrap());
            rest = &rest[len..];
        }
    }
}
