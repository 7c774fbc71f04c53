//! Connections: how they come, what passes over them, and how they die.

use std::time::Duration;

use esf_driver::{endpoint::Endpoint as _, node::Conn, step::CLOSE_DRAIN};
use esf_proto::{
    close::CloseReason,
    ids::LinkId,
    server::{AppResponse, LinkState},
    time::Instant,
    wire::{Frame, LoginResult, RawFrame},
};

use super::{
    Event, Sim, Waking,
    counts::{Book, Credits, Going},
    drive::{End, Parts, Role},
    line::{Item, Line, Manners},
    plan::PLACES,
    random::Random,
    trace::{fingerprint, words},
};

/// The kind of a frame that says why its link ends.
const CLOSE: u8 = 0x05;

/// One connection, from an engine to a life of the server.
#[derive(Debug)]
pub struct Link {
    /// Whose it is.
    pub(super) engine: usize,
    pub(super) id: LinkId,
    /// The client's end, until the client knows that it is over.
    pub(super) client: Option<End>,
    /// The server's end, until the server knows.
    pub(super) server: Option<Far>,
    pub(super) up: Line,
    pub(super) down: Line,
    /// Which of the engine's sessions it carries, as the server said.
    pub(super) session: Option<usize>,
    /// The client has its welcome.
    pub(super) welcomed: bool,
    pub(super) credits: Credits,
    /// When something arrived, at either end.
    pub(super) up_heard: Heard,
    /// What the client said when it closed.
    pub(super) closed_by_client: Option<Option<CloseReason>>,
    pub(super) down_heard: Heard,
    pub(super) armed: Option<Instant>,
    pub(super) app: Option<usize>,
    waker: std::task::Waker,
    /// The application's answer that is on its way.
    pub(super) answer: Option<AppResponse>,
    /// When the login came.
    pub(super) asked_at: Option<Instant>,
}

/// When something was heard.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    last: Instant,
    /// The silence before that.
    before: Duration,
}

impl Heard {
    const fn begin(now: Instant) -> Self {
        Self { last: now, before: Duration::ZERO }
    }

    fn now(&mut self, now: Instant) {
        let silence = now.since(self.last);
        // Several bytes of one moment, or just after it, break one silence.
        if silence > CLOSE_DRAIN {
            self.before = silence;
        }
        self.last = now;
    }

    /// The silence that a close for silence can be about: a close may have to wait until it can be told.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        let silence = now.since(self.last);
        if silence <= CLOSE_DRAIN { silence.max(self.before) } else { silence }
    }
}

/// The server's end.
#[derive(Debug)]
pub struct Far {
    pub(super) conn: Conn,
    pub(super) end: End,
}

impl Sim {
    /// The name of a link in the trace.
    pub(super) fn link_name(&self, link: usize) -> String {
        let Link { engine, id, .. } = &self.links[link];
        format!("{} link {}", self.engines[*engine].name, id.0)
    }

    /// A client's attempt has its result.
    pub(super) fn connected(&mut self, engine: usize, id: LinkId, there: bool) {
        let now = self.now;
        let of = &mut self.engines[engine];
        if of.is_gone() || of.attempt != Some(id) {
            return;
        }
        of.attempt = None;
        let local = of.clock.shows(now);
        self.calls += 1;
        let node = self.server.node.clone().filter(|_| there && now >= of.away_until);
        let Some(node) = node else {
            of.session.handle_connect_failed(local, id);
            return self.turn_client(engine);
        };
        let conn = Conn::accept(&node, self.server.clock.shows(now));
        let number = self.links.len();
        let manners = self.manners();
        let coalesce = self.plan.coalesce;
        let (mut near, mut far) = (End::new(coalesce), End::new(coalesce));
        if self.over_websocket {
            near = near.over_websocket(Role::Client, Random::new(self.chance.number()));
            far = far.over_websocket(Role::Server, Random::new(self.chance.number()));
        }
        self.links.push(Link {
            engine,
            id,
            client: Some(near),
            server: Some(Far { conn, end: far }),
            up: Line::new(manners),
            down: Line::new(manners),
            session: None,
            welcomed: false,
            credits: Credits::default(),
            up_heard: Heard::begin(now),
            closed_by_client: None,
            down_heard: Heard::begin(now),
            armed: None,
            app: None,
            waker: Waking::waker(number, &self.ready),
            answer: None,
            asked_at: None,
        });
        let of = &mut self.engines[engine];
        of.link = Some(number);
        of.was_told_why = false;
        of.session.handle_connected(local, id);
        self.turn_server(number);
        self.turn_client(engine);
    }

    fn manners(&mut self) -> Manners {
        self.plan.manners
    }

    pub(super) fn waker(&self, link: usize) -> std::task::Waker {
        self.links[link].waker.clone()
    }

    // What goes out.

    /// Frames that a client's end handed out.
    pub(super) fn went_up(&mut self, link: usize, frames: &[bytes::Bytes]) {
        for frame in frames {
            self.trace.mix(fingerprint(frame));
            self.record(frame);
            if self.trace.is_written() {
                let name = self.link_name(link);
                self.say(&name, || format!("-> {}", words(frame)));
            }
            let Link { engine, session, welcomed, credits, .. } = &mut self.links[link];
            let engine = *engine;
            let wrong = credits.goes_out(Going::Up, frame);
            let book = session.filter(|_| *welcomed);
            self.judge("8 credit", wrong, |sim| sim.link_name(link));
            if frame.get(4) == Some(&1) {
                self.login_goes_out(engine, frame);
            } else if let Some(book) = book {
                let wrong = self.engines[engine].books[book].goes_out(Going::Up, frame);
                self.judge("3 hop", wrong, |sim| sim.link_name(link));
            }
        }
        self.plan_arrival(link);
    }

    fn login_goes_out(&mut self, engine: usize, frame: &bytes::Bytes) {
        let Ok(raw) = RawFrame::parse(frame.clone()) else { return };
        let Ok(Frame::Login(login)) = raw.decode() else { return };
        let of = &mut self.engines[engine];
        of.resumes = login.resume.is_some();
        if let (Some(resume), Some(session)) = (login.resume, of.session_of_client) {
            let wrong = of.books[session].stated_by_client(resume.received);
            self.judge("3 resume", wrong, |sim| sim.engines[engine].name.clone());
        }
    }

    /// Frames that the server's end handed out.
    pub(super) fn went_down(&mut self, link: usize, frames: &[bytes::Bytes]) {
        for frame in frames {
            self.trace.mix(fingerprint(frame));
            self.record(frame);
            if self.trace.is_written() {
                let name = self.link_name(link);
                self.say(&name, || format!("<- {}", words(frame)));
            }
            let Link { engine, session, credits, .. } = &mut self.links[link];
            let (engine, session) = (*engine, *session);
            let wrong = credits.goes_out(Going::Down, frame);
            self.judge("8 credit", wrong, |sim| sim.link_name(link));
            if frame.get(4) == Some(&2) {
                self.welcome_goes_out(link, frame);
            } else if self.engines[engine].attached == Some(link) {
                let Some(session) = session else { continue };
                let wrong = self.engines[engine].books[session].goes_out(Going::Down, frame);
                self.judge("3 hop", wrong, |sim| sim.link_name(link));
                self.letter_goes_out(engine, frame);
            }
        }
        self.plan_arrival(link);
    }

    fn welcome_goes_out(&mut self, link: usize, frame: &bytes::Bytes) {
        let Ok(raw) = RawFrame::parse(frame.clone()) else { return };
        let Ok(Frame::LoginResult(LoginResult::Succeed(welcome))) = raw.decode() else { return };
        let engine = self.links[link].engine;
        let of = &mut self.engines[engine];
        let session = match (welcome.mode, of.session_of_server) {
            (esf_proto::login::Mode::Resumed, Some(session)) => {
                let wrong = of.books[session].stated_by_server(welcome.received);
                of.books[session].resumed(Going::Down);
                self.judge("3 resume", wrong, |sim| sim.engines[engine].name.clone());
                session
            }
            (esf_proto::login::Mode::Resumed, None) => {
                return self.violate("3 resume", "a session is resumed that never was".into());
            }
            (esf_proto::login::Mode::Fresh, _) => {
                let window = self.plan.server.resume_window;
                let kicked = self.kicked_until[PLACES[of.place].user] >= self.now;
                // Its own clock may be fast.
                let there = of.detached_at.is_none_or(|since| self.now.since(since) * 51 / 50 < window);
                let known = of.session_of_server.is_some() && of.session_of_client == of.session_of_server;
                if of.resumes && known && there && !kicked {
                    let name = of.name.clone();
                    return self.violate("3 resume", format!("{name} has to begin anew, though its session was there"));
                }
                if of.session_of_client.is_none() {
                    self.placed += 1;
                    of.placed = Some(self.placed);
                }
                of.began = self.now;
                of.books.push(Book::new(welcome.window));
                of.books.len() - 1
            }
        };
        let of = &mut self.engines[engine];
        of.session_of_server = Some(session);
        of.attached = Some(link);
        of.detached_at = None;
        self.links[link].session = Some(session);
    }

    /// Plans the next arrival on both lines of a link.
    pub(super) fn plan_arrival(&mut self, link: usize) {
        let Link { up, down, .. } = &mut self.links[link];
        let mut plans = [None, None];
        for (line, plan, up) in [(up, 0, true), (down, 1, false)] {
            if let Some(at) = line.next_arrival().filter(|_| !line.planned) {
                line.planned = true;
                plans[plan] = Some((at, if up { Event::Up(link) } else { Event::Down(link) }));
            }
        }
        for (at, event) in plans.into_iter().flatten() {
            self.plan_at(at.max(self.now), event);
        }
    }

    // What arrives.

    pub(super) fn arrive_up(&mut self, link: usize) {
        self.links[link].up.planned = false;
        let now = self.now;
        let mut came = false;
        while let Some(item) = self.next_up(link) {
            came = true;
            let local = self.server.clock.shows(now);
            let Link { engine, session, credits, server, up_heard, .. } = &mut self.links[link];
            let engine = *engine;
            let Some(Far { conn, .. }) = server else { continue };
            up_heard.now(now);
            self.calls += 1;
            match item {
                Item::Message(message) => {
                    let book = session
                        .filter(|_| conn.state() == LinkState::Attached && self.engines[engine].attached == Some(link));
                    let mut wrong = None;
                    for frame in Parts(&message) {
                        credits.arrives(Going::Up, frame);
                        if let Some(book) = book {
                            let seen = self.engines[engine].books[book].arrives(Going::Up, frame);
                            wrong = wrong.or(seen);
                        }
                    }
                    conn.handle_message(local, message);
                    self.judge("3 hop", wrong, |sim| sim.link_name(link));
                }
                Item::Text => conn.handle_text(local),
                Item::Wrong(text) => return self.violate("4 links", format!("bytes that are wrong: {text}")),
                Item::Bytes(_) | Item::Ping | Item::Pong => {}
                Item::Close(code) => {
                    conn.handle_closed(local, code);
                    self.server_end_is_over(link);
                }
                Item::End => {
                    conn.handle_closed(local, None);
                    self.server_end_is_over(link);
                }
            }
            if self.violation.is_some() {
                return;
            }
        }
        self.plan_arrival(link);
        if came {
            self.turn_server(link);
            // There may be room again.
            let engine = self.links[link].engine;
            if self.engines[engine].link == Some(link) && self.engines[engine].blocked {
                self.turn_client(engine);
            }
        }
    }

    /// The next item that arrives at the server's end.
    fn next_up(&mut self, link: usize) -> Option<Item> {
        loop {
            if let Some(item) = self.unpacked.pop_front() {
                return Some(item);
            }
            let Link { up, down, server, .. } = &mut self.links[link];
            match (up.arrive(self.now)?, server) {
                (Item::Bytes(bytes), Some(Far { conn, end })) => {
                    end.unpack(self.now, &bytes, conn.max_message(), down, &mut self.unpacked);
                }
                (item, _) => return Some(item),
            }
        }
    }

    /// The next item that arrives at the client's end.
    fn next_down(&mut self, link: usize) -> Option<Item> {
        loop {
            if let Some(item) = self.unpacked.pop_front() {
                return Some(item);
            }
            let Link { up, down, client, engine, .. } = &mut self.links[link];
            match (down.arrive(self.now)?, client) {
                (Item::Bytes(bytes), Some(end)) => {
                    let limit = self.engines[*engine].session.max_message();
                    end.unpack(self.now, &bytes, limit, up, &mut self.unpacked);
                }
                (item, _) => return Some(item),
            }
        }
    }

    pub(super) fn arrive_down(&mut self, link: usize) {
        self.links[link].down.planned = false;
        let now = self.now;
        let engine = self.links[link].engine;
        let mut came = false;
        while let Some(item) = self.next_down(link) {
            came = true;
            let of = &mut self.engines[engine];
            if of.is_gone() || of.link != Some(link) {
                continue;
            }
            let local = of.clock.shows(now);
            self.links[link].down_heard.now(now);
            self.calls += 1;
            match item {
                Item::Message(message) => self.message_arrives(link, local, &message),
                Item::Text => of.session.handle_text(local, self.links[link].id),
                Item::Ping => {
                    let chance = self.chance.number();
                    self.links[link].up.feed(now, Item::Pong, chance);
                }
                Item::Wrong(text) => return self.violate("4 links", format!("bytes that are wrong: {text}")),
                Item::Bytes(_) | Item::Pong => {}
                Item::Close(code) => {
                    of.was_told_why |= code.is_some_and(|code| CloseReason::from_websocket_code(code).is_some());
                    of.session.handle_link_closed(local, self.links[link].id, code);
                    self.client_end_is_over(link);
                }
                Item::End => {
                    of.session.handle_link_closed(local, self.links[link].id, None);
                    self.client_end_is_over(link);
                }
            }
            if self.violation.is_some() {
                return;
            }
        }
        self.plan_arrival(link);
        if came {
            self.turn_client(engine);
            self.turn_server(link);
        }
    }

    fn message_arrives(&mut self, link: usize, local: Instant, message: &bytes::Bytes) {
        let Link { engine, id, session, welcomed, credits, .. } = &mut self.links[link];
        let (engine, id) = (*engine, *id);
        let of = &mut self.engines[engine];
        let (stale, overflows) = (of.session.stats().stale_inputs, of.session.stats().overflows);
        of.session.handle_message(local, id, message.clone());
        if of.session.stats().stale_inputs != stale {
            // It has given this link up, and only waits until it could say so.
            return;
        }
        let mut wrong = None;
        for frame in Parts(message) {
            credits.arrives(Going::Down, frame);
            of.was_told_why |= frame.get(4) == Some(&CLOSE);
            let Some(book) = *session else { continue };
            if frame.get(4) == Some(&2) {
                if of.session_of_client == Some(book) {
                    of.books[book].resumed(Going::Up);
                }
                of.session_of_client = Some(book);
                *welcomed = true;
            } else if *welcomed && !of.logs_off {
                wrong = wrong.or(of.books[book].arrives(Going::Down, frame));
            }
        }
        if of.session.stats().overflows != overflows
            && let Some(book) = of.session_of_client
        {
            of.books[book].unsure = true;
        }
        self.judge("3 hop", wrong, |sim| sim.link_name(link));
    }

    // How links die.

    /// The server's end of a link is over: its client will see the end of the stream.
    pub(super) fn server_end_is_over(&mut self, link: usize) {
        let chance = self.chance.number();
        // What came with the end is still for the application.
        self.meet_application(link);
        let engine = self.links[link].engine;
        if self.engines[engine].attached == Some(link) {
            self.engines[engine].detached_at.get_or_insert(self.now);
        }
        let Link { server, down, client, .. } = &mut self.links[link];
        if server.take().is_some() && client.is_some() {
            down.feed(self.now, Item::End, chance);
            self.plan_arrival(link);
        }
    }

    /// The client's end is over.
    pub(super) fn client_end_is_over(&mut self, link: usize) {
        let chance = self.chance.number();
        let engine = self.links[link].engine;
        if self.engines[engine].link == Some(link) {
            self.engines[engine].link = None;
        }
        let Link { server, up, client, .. } = &mut self.links[link];
        if client.take().is_some() && server.is_some() {
            up.feed(self.now, Item::End, chance);
            self.plan_arrival(link);
        }
    }

    /// The server hears that a link is dead; what was under way to it is lost.
    pub(super) fn server_learns(&mut self, link: usize) {
        let now = self.server.clock.shows(self.now);
        let Link { server, up, .. } = &mut self.links[link];
        up.lose(0);
        let Some(Far { conn, .. }) = server else { return };
        conn.handle_closed(now, None);
        self.calls += 1;
        self.server_end_is_over(link);
        let name = self.link_name(link);
        self.say(&name, || "the server sees that it is dead".into());
    }

    /// The client hears that a link is dead; what was under way to it is lost.
    pub(super) fn client_learns(&mut self, link: usize) {
        let Link { engine, id, down, client, .. } = &mut self.links[link];
        let (engine, id) = (*engine, *id);
        down.lose(0);
        if client.take().is_none() || self.engines[engine].link != Some(link) {
            return;
        }
        let of = &mut self.engines[engine];
        of.link = None;
        if of.is_gone() {
            return;
        }
        let local = of.clock.shows(self.now);
        of.session.handle_link_closed(local, id, None);
        self.calls += 1;
        let name = self.link_name(link);
        self.say(&name, || "the client sees that it is dead".into());
        self.turn_client(engine);
    }

    /// A line that stood still moves again.
    pub(super) fn moves(&mut self, link: usize) {
        let now = self.now;
        let Link { up, down, .. } = &mut self.links[link];
        up.moves(now);
        down.moves(now);
        self.plan_arrival(link);
    }

    /// Whether something in its lines or processes kept one end of a link from hearing the other since then.
    pub(super) fn was_ill(&self, link: usize, since: Instant) -> bool {
        let Link { engine, up, down, client, .. } = &self.links[link];
        let slept = self.engines[*engine].asleep_until >= since;
        slept || client.is_none() || up.was_ill(since) || down.was_ill(since)
    }

    /// Links that both ends still use.
    pub(super) fn living_links(&self) -> Vec<usize> {
        let living = |link: &usize| self.engines[self.links[*link].engine].link == Some(*link);
        (0..self.links.len()).filter(living).collect()
    }

    /// Makes the timers of a link's server side due at `at`.
    pub(super) fn arm_conn(&mut self, link: usize, at: Option<Instant>) {
        let Some(at) = at else { return };
        let at = at.max(self.now);
        if self.links[link].armed.is_none_or(|armed| at < armed) {
            self.links[link].armed = Some(at);
            self.plan_at(at, Event::Conn(link));
        }
    }
}
