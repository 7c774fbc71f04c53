//! The core driven by hand, over TCP: Anna logs in, sends the server a message, hears that it is there, and logs off.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the core has no IO and no clock; this has")]

use std::{cell::RefCell, io::*, iter, net::*, rc::Rc, sync::Arc, sync::LazyLock, thread, time::Duration};

use esf_proto::{client, hub, ids, login, server, server::Generation, session, time, wire};

fn main() -> Result<()> {
    let wire = |stream| Wire { stream, frames: wire::Splitter::new(1 << 20), seen: Default::default() };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let anna = thread::spawn(move || talk(wire(stream)));
    assert_eq!(serve(wire(listener.accept()?.0))?[0].body, "hello");
    anna.join().expect("Anna is well")
}

type Login = (server::Session, Rc<RefCell<server::Outbox>>);

/// The client. Its message waits in the session until the login is through.
fn talk(mut wire: Wire) -> Result<()> {
    let config = client::Config::new(ids::UserId::parse("anna", 64).expect("a name"));
    let seed = client::Seed { instance: ids::InstanceId(0x5eed), jitter: 7 }; // Random in real life.
    let mut anna = client::Session::new(config, seed, now());
    let hello = anna.send_certainly(now(), &ids::To::Server, 42, "hello".into(), None).expect("room for it");
    let Some(client::Action::Connect { link }) = anna.poll_action() else { panic!("first of all she connects") };
    anna.handle_connected(now(), link);
    loop {
        let ready = iter::from_fn(|| anna.poll_transmit(now())).flat_map(|out| out.frame);
        wire.stream.write_all(&ready.collect::<Vec<u8>>())?;
        match anna.poll_event() {
            Some(client::Event::Acked { id }) if id == hello => anna.log_off(now()),
            Some(client::Event::Closed { .. }) => return Ok(()),
            Some(_) => {}
            None => {
                for frame in wire.read(anna.poll_timeout())? {
                    anna.handle_message(now(), link, frame.into_bytes());
                }
                anna.handle_transport(now(), link, wire.seen);
                anna.handle_timeout(now());
            }
        }
    }
}

/// The server, for one login on one link; `esf-driver/src/node` has many, on many threads. Returns what it was sent.
fn serve(mut wire: Wire) -> Result<Vec<session::inbound::Message>> {
    let (config, counters) = (Arc::new(server::Config::default()), Arc::new(server::Counters::default()));
    let memory = Arc::new(session::budget::Budget::new(config.global_budget));
    let (this_life, secret) = (ids::InstanceId(1), login::ResumeSecret([2; 16])); // Random in real life.
    let mut hub = hub::Hub::new(&config, &counters, this_life, (3, 4)); // These, too.
    let own = RefCell::new(server::Desk::new(&config, &counters, &memory, this_life).1);
    let (mut link, mut login) = (server::Link::new(&config, &counters, ids::LinkId(1), now()), None::<Login>);
    while !matches!(link.poll_action(), Some(server::LinkAction::Close(_))) {
        // What comes is for the link, or for the session that it carries.
        let session_due = login.as_ref().and_then(|(session, outbox)| session.poll_timeout(&outbox.borrow()));
        wire.frames.set_max_frame(link.max_frame());
        for frame in wire.read(link.poll_timeout().into_iter().chain(session_due).min())? {
            if let (Some(frame), Some((session, _))) = (link.handle_frame(now(), Ok(frame)), &mut login) {
                session.handle_frame(now(), Generation::FIRST, frame);
            }
        }
        link.handle_transport(now(), wire.seen);
        link.handle_timeout(now());
        // The application judges the credential; then the hub finds the login its place.
        if let Some(server::AppRequest::Authenticate(_)) = link.poll_request() {
            link.handle_response(server::AppResponse::Accept(login::Rights::NONE.into()));
        }
        if let Some(claim) = link.poll_login() {
            let (wall, ticket, mut login_number) = (time::UnixMillis(0), Default::default(), 0);
            let place = hub.login(now(), wall, &claim, hub::Stage::First, &[], |entry| {
                login_number = entry.number;
                let new = entry.session(&claim, secret, this_life);
                let (session, outbox) = server::Session::new(&config, &counters, &memory, new);
                login.insert((session, Rc::new(outbox.into()))).1.clone()
            });
            assert!(matches!(place, hub::Place::New { .. }), "nobody is in her way");
            let placed = server::Placed { resumed: None, secret, login_number, server: this_life, wall, ticket };
            link.handle_placed(now(), &claim, &placed);
        }
        // The session speaks to the hub and, after its link, to the client.
        if let Some((session, outbox)) = &mut login {
            session.handle_timeout(now(), &mut outbox.borrow_mut());
            hub.settle(now(), session, outbox, &own);
            session.poll_close(Generation::FIRST).into_iter().for_each(|reason| link.close(reason));
        }
        let of_session = |it: &mut Login| it.0.poll_transmit(now(), Generation::FIRST, &mut it.1.borrow_mut());
        let ready = iter::from_fn(|| link.poll_transmit().or_else(|| login.as_mut().and_then(of_session)));
        wire.stream.write_all(&ready.flatten().collect::<Vec<u8>>())?;
    }
    Ok(iter::from_fn(|| login.as_mut()?.0.poll_message()).collect())
}

/// Frames over TCP: they simply follow one another.
struct Wire {
    stream: TcpStream,
    frames: wire::Splitter,
    seen: session::transport::Transport,
}

impl Wire {
    /// Waits for bytes, at most until the core is due, and gives the frames that are whole.
    fn read(&mut self, due: Option<(time::Instant, session::timers::TimerKind)>) -> Result<Vec<wire::RawFrame>> {
        self.stream.set_read_timeout(due.map(|(at, _)| at.since(now()).max(Duration::from_millis(1))))?;
        let mut bytes = [0; 4096];
        let count = match self.stream.read(&mut bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => 0,
            count => count?,
        };
        self.seen.read += count as u64;
        self.frames.push(&bytes[..count]);
        iter::from_fn(|| self.frames.next_frame().map_err(Error::other).transpose()).collect()
    }
}

/// The core has no clock: it is told the time, counted from when the program likes.
fn now() -> time::Instant {
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    time::Instant::ZERO + START.elapsed()
}
