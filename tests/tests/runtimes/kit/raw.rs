//! One end of a connection, made by hand: for what no honest client and no honest server does.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    ids::{DeviceKind, Engine, InstanceId},
    login::{CredentialKind, Mode, ResumeSecret},
    wire::{Address, Credential, Envelope, Frame, Frames, Kind, Login, LoginResult, RawFrame, Resume, Welcome},
};
use esf_tests::by_hand::{bytes_of, welcome};
use tungstenite::{
    Message, WebSocket,
    client::IntoClientRequest as _,
    handshake::server::{Request, Response},
    protocol::{CloseFrame, Role},
};

use super::{PATIENCE, spec::user};

/// The address of every server that is made by hand.
pub(crate) const SERVER: Address<'static> = Address::Server { instance: 900 };

/// How a link ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this WebSocket close code, and this reason in the last frame before it.
    Closed(Option<u16>, Option<CloseReason>),
    /// Without a word.
    Gone,
}

/// A WebSocket of which one end is the test itself.
pub(crate) struct RawLink {
    socket: WebSocket<TcpStream>,
    frames: VecDeque<RawFrame>,
    last: Option<RawFrame>,
    /// Who the client says it is.
    pub(crate) engine: Engine,
}

/// A connection to this URL, without a word on it.
pub(crate) fn tcp(url: &str) -> TcpStream {
    let stream = TcpStream::connect(url.trim_start_matches("ws://")).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// What is answered to these bytes until the connection ends.
pub(crate) fn answer(mut stream: TcpStream, request: &[u8]) -> String {
    stream.write_all(request).expect("sends");
    let mut answer = Vec::new();
    // What was unread on the other side may reset the connection, after its answer.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

impl RawLink {
    /// A client before its login.
    pub(crate) fn open(url: &str, name: &str, instance: u64) -> Self {
        let mut request = url.into_client_request().expect("a request");
        request.headers_mut().insert("Sec-WebSocket-Protocol", "esf.v1".parse().expect("a value"));
        let socket = tungstenite::client(request, tcp(url)).expect("a WebSocket").0;
        Self::over(socket, Engine { user: user(name), device: DeviceKind::SERVICE, instance: InstanceId(instance) })
    }

    fn over(socket: WebSocket<TcpStream>, engine: Engine) -> Self {
        Self { socket, frames: VecDeque::new(), last: None, engine }
    }

    /// A server to whom the next client comes, whose login it has read.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().expect("a client comes");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let socket = agree(stream);
        let nobody = Engine { user: user("nobody"), device: DeviceKind::SERVICE, instance: InstanceId(0) };
        let mut link = Self::over(socket, nobody);
        let login = link.next().expect("a login");
        let Ok(Frame::Login(Login { user: name, device, instance, .. })) = login.decode() else {
            panic!("no login but {:?}", login.kind())
        };
        link.engine = Engine { user: user(name), device, instance };
        link
    }

    /// Lets the client in.
    pub(crate) fn welcome(&mut self) {
        self.push(bytes_of(&welcome(Mode::Fresh)));
    }

    /// Logs in as a client and waits for the welcome.
    pub(crate) fn log_in(&mut self) -> ResumeSecret {
        self.push(self.login(None));
        self.welcomed().0
    }

    /// The secret and mode of the welcome that comes.
    pub(crate) fn welcomed(&mut self) -> (ResumeSecret, Mode) {
        let frame = self.next().expect("an answer");
        match frame.decode() {
            Ok(Frame::LoginResult(LoginResult::Succeed(Welcome { secret, mode, .. }))) => (secret, mode),
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// The bytes of an honest login, later than all before it.
    pub(crate) fn login(&self, resume: Option<(ResumeSecret, u32)>) -> Bytes {
        static ATTEMPT: AtomicU32 = AtomicU32::new(1);
        bytes_of(&Frame::Login(Login {
            instance: self.engine.instance,
            attempt: ATTEMPT.fetch_add(1, Ordering::Relaxed),
            interactive: resume.is_none(),
            takes_messages: true,
            device: self.engine.device,
            heartbeat_ms: 5_000,
            login_number: 0,
            user: &self.engine.user,
            credential: Credential { kind: CredentialKind::None, bytes: b"" },
            system_token: b"",
            ticket: b"",
            resume: resume.map(|(secret, received)| Resume { secret, received }),
        }))
    }

    /// An envelope from this client.
    pub(crate) fn to<'a>(&'a self, to: Address<'a>, id: u64) -> Envelope<'a> {
        Envelope::new(to, Address::of_engine(&self.engine), id)
    }

    /// A plain message of this client.
    pub(crate) fn plain(&self, to: &str, text: &str) -> Bytes {
        let envelope = self.to(Address::User { user: to }, 0);
        bytes_of(&Frame::Send { envelope, info_type: 1, body: text.as_bytes() })
    }

    /// Sends one WebSocket message. That the other end is gone is seen by whoever reads.
    pub(crate) fn push(&mut self, message: Bytes) {
        let _ = self.socket.send(Message::Binary(message));
    }

    pub(crate) fn push_text(&mut self) {
        let _ = self.socket.send(Message::text("hello"));
    }

    /// Sends these very bytes.
    pub(crate) fn push_raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.get_mut().write_all(bytes);
    }

    /// Closes with this code, or without one.
    pub(crate) fn close(&mut self, code: Option<u16>) {
        let frame = code.map(|code| CloseFrame { code: code.into(), reason: "".into() });
        let _ = self.socket.close(frame);
    }

    /// Breaks the connection without a word.
    pub(crate) fn break_off(&self) {
        let _ = self.socket.get_ref().shutdown(Shutdown::Both);
    }

    /// Takes so many bytes off the connection, `at_once` and then a pause. Its frames cannot be read any more.
    pub(crate) fn read_slowly(&mut self, bytes: usize, at_once: usize, pause: Duration) {
        let mut buffer = vec![0; at_once];
        for _ in 0..bytes / at_once {
            self.socket.get_mut().read_exact(&mut buffer).expect("it goes on");
            std::thread::sleep(pause);
        }
    }

    /// The next frame; `None` when the link is over.
    pub(crate) fn next(&mut self) -> Option<RawFrame> {
        self.receive().ok()
    }

    /// The next frame of this kind.
    pub(crate) fn next_of(&mut self, kind: Kind) -> RawFrame {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("the link ended and no {kind:?} came"));
            if frame.kind() == Some(kind) {
                return frame;
            }
        }
    }

    /// Reads to the end.
    pub(crate) fn end(&mut self) -> End {
        loop {
            if let Err(end) = self.receive() {
                return end;
            }
        }
    }

    fn receive(&mut self) -> Result<RawFrame, End> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                self.last = Some(frame.clone());
                return Ok(frame);
            }
            match self.socket.read() {
                Ok(Message::Binary(message)) => {
                    self.frames.extend(Frames::new(message, usize::MAX).map(|frame| frame.expect("a frame")));
                }
                Ok(Message::Close(frame)) => {
                    // The answer to it, for whoever waits for that.
                    let _ = self.socket.flush();
                    let told = self.last.as_ref().and_then(|last| match last.decode() {
                        Ok(Frame::Close { reason, .. }) => Some(reason),
                        _ => None,
                    });
                    return Err(End::Closed(frame.map(|frame| frame.code.into()), told));
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing came for {PATIENCE:?}")
                }
                Err(_) => return Err(End::Gone),
            }
        }
    }
}

/// Opens the WebSocket of a client that has connected.
fn agree<S: std::io::Read + std::io::Write>(stream: S) -> WebSocket<S> {
    #[expect(clippy::result_large_err, reason = "the callback of tungstenite")]
    let answer = |_: &Request, mut response: Response| {
        response.headers_mut().insert("Sec-WebSocket-Protocol", "esf.v1".parse().expect("a value"));
        Ok(response)
    };
    tungstenite::accept_hdr(stream, answer).map_err(|error| error.to_string()).expect("a WebSocket")
}

/// The same, for somebody else to use. A client says nothing before it has the answer, so nothing is read ahead.
pub(crate) fn open_websocket(stream: &TcpStream) {
    drop(agree(stream));
}

/// Takes a connection, reads its request, and answers with these bytes instead of what a WebSocket wants.
pub(crate) fn reply_to_request(listener: &TcpListener, reply: impl FnOnce(&str) -> Vec<u8>) -> TcpStream {
    let (mut stream, _) = listener.accept().expect("a client comes");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        request.push(byte[0]);
    }
    let _ = stream.write_all(&reply(&String::from_utf8_lossy(&request)));
    stream
}

/// A WebSocket server over a stream on which the test has shaken hands.
pub(crate) fn upgraded(stream: TcpStream) -> WebSocket<TcpStream> {
    WebSocket::from_raw_socket(stream, Role::Server, None)
}
