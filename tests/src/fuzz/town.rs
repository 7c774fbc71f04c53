//! A hub and sessions on one thread, with no links: what crosses the hub, and nothing else.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use esf_proto::{
    close::CloseReason,
    failure::Failure,
    hub::{Fanout, Fanouts, Hub, Mail, Party, Place, Progress, Reach, Receiver, Stage, Told, Whose},
    ids::{Engine, GroupId, InstanceId, SessionId, UserId},
    login::ResumeSecret,
    server::{
        Config, Counters, Desk, Generation, HubChange, HubEvent, LoginClaim, Outbox, Session, SessionState, Ticket,
        Verdict,
    },
    session::budget::Budget,
    store::{JobId, Person, StoreFailed, StoreResponse},
    time::{Instant, UnixMillis},
    wire::{Frame, Header, RawFrame},
};

use super::{
    Input,
    crowd::{Broadcasts, Library},
};

const SERVER: InstanceId = InstanceId(900);

/// Where a session lives.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) session: RefCell<Session>,
    pub(super) outbox: RefCell<Outbox>,
    /// Counted frames that its client has got, and their bytes as far as they are messages.
    got: std::cell::Cell<(u32, u32)>,
}

/// The hub and everybody on it.
pub(super) struct Town {
    pub(super) now: Instant,
    pub(super) hub: Hub<Rc<Cell>>,
    pub(super) global: Arc<Budget>,
    pub(super) desk: Desk,
    pub(super) desk_outbox: RefCell<Outbox>,
    pub(super) mail: Option<RefCell<Mail<Rc<Cell>>>>,
    /// What the server's application is to judge.
    pub(super) asked: Vec<(Rc<Cell>, Ticket)>,
    /// The last that it has judged.
    judged_last: Option<(Rc<Cell>, Ticket)>,
    pub(super) library: Library,
    pub(super) broadcasts: Broadcasts,
    /// Who is there, and who was a moment ago.
    pub(super) there: Vec<Rc<Cell>>,
    fanouts: Fanouts,
    judged: u64,
    /// The broadcasts of the server's application, in order.
    announcements: VecDeque<Fanout>,
    config: Arc<Config>,
    counters: Arc<Counters>,
}

/// The most outputs of a slice.
const SLICE: usize = 256;

struct Outboxes<'a>(&'a RefCell<Outbox>, Option<&'a RefCell<Mail<Rc<Cell>>>>);

impl Reach<Rc<Cell>> for Outboxes<'_> {
    fn visit<R>(&self, whose: Whose<'_, Rc<Cell>>, visit: impl FnOnce(&mut Outbox) -> R) -> R {
        let outbox = match whose {
            Whose::Session(cell) => &cell.outbox,
            Whose::Server => self.0,
        };
        let mut outbox = outbox.try_borrow_mut().expect("outboxes are locked one at a time");
        visit(&mut outbox)
    }

    fn mail<R>(&self, visit: impl FnOnce(&mut Mail<Rc<Cell>>) -> R) -> Option<R> {
        let mut mail = self.1?.try_borrow_mut().expect("nobody asks for the mail twice");
        Some(visit(&mut mail))
    }
}

/// The same, and who was visited.
struct Recorded<'a> {
    outboxes: Outboxes<'a>,
    visited: RefCell<Vec<Rc<Cell>>>,
}

impl Reach<Rc<Cell>> for Recorded<'_> {
    fn visit<R>(&self, whose: Whose<'_, Rc<Cell>>, visit: impl FnOnce(&mut Outbox) -> R) -> R {
        if let Whose::Session(cell) = whose {
            self.visited.borrow_mut().push(cell.clone());
        }
        self.outboxes.visit(whose, visit)
    }

    fn mail<R>(&self, visit: impl FnOnce(&mut Mail<Rc<Cell>>) -> R) -> Option<R> {
        self.outboxes.mail(visit)
    }
}

impl Town {
    pub(super) fn new(config: Config) -> Self {
        let (config, counters) = (Arc::new(config), Arc::new(Counters::default()));
        let global = Arc::new(Budget::new(config.global_budget));
        let (desk, outbox) = Desk::new(&config, &counters, &global, SERVER);
        Self {
            now: Instant::from_micros(1_000_000),
            hub: Hub::new(&config, &counters, SERVER, (1, 2)),
            global: global.clone(),
            desk,
            desk_outbox: RefCell::new(outbox),
            mail: config.keeps_messages.then(|| RefCell::new(Mail::new(&config, &counters, &global))),
            asked: Vec::new(),
            judged_last: None,
            library: Library::default(),
            broadcasts: Broadcasts::default(),
            there: Vec::new(),
            fanouts: Fanouts::new(&global),
            judged: 0,
            announcements: VecDeque::new(),
            config,
            counters,
        }
    }

    /// What the hub makes of a login. Whoever it replaces is ended, as it has to be before the login is answered.
    pub(super) fn log_in(&mut self, claim: &LoginClaim, stage: Stage, silent: &[SessionId]) -> Place<Rc<Cell>> {
        let (config, counters, global) = (&self.config, &self.counters, &self.global);
        let place = self.hub.login(self.now, UnixMillis(1_000), claim, stage, silent, |entry| {
            let new = entry.session(claim, ResumeSecret([1; 16]), SERVER);
            let (session, outbox) = Session::new(config, counters, global, new);
            Rc::new(Cell { session: RefCell::new(session), outbox: RefCell::new(outbox), got: Default::default() })
        });
        if let Place::New { handle, replaced } = &place {
            for old in replaced {
                self.end(old, CloseReason::PushedOut);
            }
            self.there.push(handle.clone());
            let session = handle.session.borrow();
            if let (Some(mail), true) = (&self.mail, self.hub.has_device(session.engine(), session.id())) {
                let receiver = Receiver { session: session.id(), engine: session.engine(), handle };
                mail.borrow_mut().open_tail(self.now, &receiver);
            }
        }
        self.pass_on();
        place
    }

    pub(super) fn frame(&mut self, cell: &Rc<Cell>, frame: RawFrame) {
        cell.session.borrow_mut().handle_frame(self.now, Generation::FIRST, frame);
        self.settle(cell);
    }

    pub(super) fn end(&mut self, cell: &Rc<Cell>, reason: CloseReason) {
        cell.session.borrow_mut().end(self.now, reason, &mut cell.outbox.borrow_mut());
        self.settle(cell);
    }

    pub(super) fn detach(&mut self, cell: &Rc<Cell>) {
        cell.session.borrow_mut().detach(self.now, Generation::FIRST);
        self.settle(cell);
    }

    /// Lets time pass for everybody.
    pub(super) fn pass(&mut self, cells: &[Rc<Cell>], duration: Duration) {
        self.now = self.now + duration;
        for cell in cells {
            cell.session.borrow_mut().handle_timeout(self.now, &mut cell.outbox.borrow_mut());
            self.settle(cell);
            let next = cell.session.borrow().poll_timeout(&cell.outbox.borrow());
            // A link writes out the count that is due, which takes it away.
            while cell
                .session
                .borrow_mut()
                .poll_transmit(self.now, Generation::FIRST, &mut cell.outbox.borrow_mut())
                .is_some()
            {}
            let after = cell.session.borrow().poll_timeout(&cell.outbox.borrow());
            assert!(after.is_none_or(|(at, _)| at > self.now), "due again at once: {next:?}, {after:?}");
        }
        self.desk_outbox.borrow_mut().expire(self.now);
        while let Some(cell) = self.hub.poll_due(self.now) {
            cell.session.borrow_mut().handle_timeout(self.now, &mut cell.outbox.borrow_mut());
            self.settle(&cell);
        }
        if let Some(mail) = &self.mail {
            mail.borrow_mut().handle_timeout(self.now);
        }
        // What the store did not say may end sessions, which others are to hear of.
        self.pass_on();
        while self.hub.handle_timeout(self.now) {}
        self.pass_on();
        let mail = self.mail.as_ref().and_then(|mail| mail.borrow().poll_timeout());
        assert!(mail.is_none_or(|at| at > self.now), "the mail is due again at once");
        assert!(self.hub.poll_timeout().is_none_or(|at| at > self.now), "the hub is due again at once");
    }

    /// Everything that goes out to a session's client, with the window open.
    pub(super) fn received(&mut self, cell: &Rc<Cell>) -> Vec<RawFrame> {
        let (mut session, mut outbox) = (cell.session.borrow_mut(), cell.outbox.borrow_mut());
        let mut frames: Vec<Bytes> = Vec::new();
        while let Some(frame) = session.poll_transmit(self.now, Generation::FIRST, &mut outbox) {
            frames.push(frame);
        }
        while let Some(frame) = session.poll_fragment(Generation::FIRST, &mut outbox) {
            frames.push(frame);
        }
        drop((session, outbox));
        self.settle(cell);
        let frames: Vec<RawFrame> =
            frames.into_iter().map(|frame| RawFrame::parse(frame).expect("a frame of the server")).collect();
        let (counted, windowed) = cell.got.get();
        let is_counted = frames.iter().filter(|frame| frame.is_counted());
        let is_windowed = frames.iter().filter(|frame| frame.is_counted() && frame.is_windowed());
        let bytes = is_windowed.map(RawFrame::len).sum::<usize>();
        let number = |number: usize| u32::try_from(number).expect("few");
        cell.got.set((counted + number(is_counted.count()), windowed + number(bytes)));
        frames
    }

    /// The client counts and takes what it has got.
    pub(super) fn count(&mut self, cell: &Rc<Cell>) {
        let (received, taken) = cell.got.get();
        let frame = Frame::Count { received, taken }.to_bytes(Header::default()).expect("a count");
        self.frame(cell, RawFrame::parse(frame).expect("a count"));
    }

    /// The server's application sends a frame.
    pub(super) fn send(&self, frame: &RawFrame) -> Result<(), Failure> {
        self.hub.send(self.now, frame, &self.outboxes())
    }

    /// The application of the server takes and answers what there is of a session.
    pub(super) fn serve(&mut self, cell: &Rc<Cell>) {
        while cell.session.borrow_mut().poll_message().is_some() {}
        loop {
            let Some(query) = cell.session.borrow_mut().poll_query() else { break };
            cell.outbox.borrow_mut().reply(query.token, Ok(&query.body));
        }
        self.settle(cell);
    }

    // What goes to many, and the store.

    /// The store answers something, or says something that nobody asked.
    pub(super) fn answer(&mut self, input: &mut Input<'_>, names: &[&str]) {
        let (job, answer) = self.library.answer(self.now, input, names);
        self.answered(job, answer);
    }

    /// The store answers everything, and rightly.
    pub(super) fn answer_all(&mut self, names: &[&str]) {
        while let Some((job, answer)) = self.library.answer_next(self.now, names) {
            self.answered(job, answer);
        }
    }

    /// The store knows somebody.
    pub(super) fn introduce(&mut self, user: &UserId, person: Person) {
        if let Some((job, answer)) = self.library.introduce(self.now, user, person) {
            self.answered(job, Ok(answer));
        }
    }

    fn answered(&mut self, job: JobId, answer: Result<StoreResponse, StoreFailed>) {
        match &self.mail {
            Some(mail) if Mail::<Rc<Cell>>::owns(job) => mail.borrow_mut().handle_response(self.now, job, answer),
            _ => self.hub.handle_response(self.now, job, answer),
        }
        self.pass_on();
        assert_eq!(self.counters.store_unasked.get(), self.library.unasked, "{job:?}");
    }

    /// The contacts and groups of somebody are others.
    pub(super) fn relations_changed(&mut self, user: &UserId) {
        self.hub.relations_changed(self.now, user);
        self.pass_on();
    }

    /// The server's application sends to a group.
    pub(super) fn announce(&mut self, group: &GroupId, body: &[u8]) {
        let number = self.broadcasts.next();
        let frame = self.desk.broadcast(group, number, body).expect("a small frame");
        let fanout = Hub::<Rc<Cell>>::broadcast_of_server(&frame).expect("a broadcast");
        self.broadcasts.made(None, &frame);
        self.announcements.push_back(fanout);
    }

    /// A slice of what goes to many: of the next in turn, or of what the server's application sent.
    pub(super) fn carry_on(&mut self, announcement: bool) -> bool {
        if announcement {
            let Some(mut fanout) = self.announcements.pop_front() else { return false };
            if self.slice(&mut fanout) != Progress::Done {
                self.announcements.push_front(fanout);
            }
            return true;
        }
        let Some(mut fanout) = self.fanouts.take_next() else { return false };
        let progress = self.slice(&mut fanout);
        self.fanouts.put_back(fanout, progress);
        true
    }

    /// Everything that goes to many and can go on does.
    pub(super) fn carry_all(&mut self) {
        while self.carry_on(false) || self.carry_on(true) {}
    }

    fn slice(&mut self, fanout: &mut Fanout) -> Progress {
        let numbers: Vec<u32> = fanout.broadcasts().iter().map(number_of).collect();
        let reach = Recorded { outboxes: self.outboxes(), visited: RefCell::default() };
        let progress = self.hub.carry_on(self.now, fanout, &reach, &mut |_| ());
        let visited = reach.visited.into_inner();
        assert!(visited.len() <= SLICE, "{} outputs in a slice", visited.len());
        self.forget_ended();
        for number in &numbers {
            let together = numbers.len();
            self.broadcasts.carried(*number, together, &visited, progress, &self.there, &self.library);
        }
        progress
    }

    pub(super) fn forget_ended(&mut self) {
        self.there.retain(|cell| cell.session.borrow().state() != SessionState::Ended);
    }

    /// What the hub and the mail have for others goes to them, or waits for its turn.
    fn pass_on(&mut self) {
        loop {
            let of_mail = || self.mail.as_ref()?.borrow_mut().poll_request();
            let Some((job, request)) = self.hub.poll_request().or_else(of_mail) else { break };
            self.library.ask(self.now, job, request);
        }
        while let Some(told) = self.mail.as_ref().and_then(|mail| mail.borrow_mut().poll_told()) {
            self.does(told);
        }
        while let Some(reply) = self.hub.poll_reply() {
            let cell = reply.handle.clone();
            reply.put(&mut cell.outbox.borrow_mut());
        }
        while let Some(fanout) = self.hub.poll_fanout() {
            // One that finds no room is dropped.
            let _ = self.fanouts.push(fanout);
        }
        if std::mem::replace(&mut self.judged, self.hub.judged()) != self.judged {
            self.fanouts.unpark();
        }
    }

    fn does(&mut self, told: Told<Rc<Cell>>) {
        let now = self.now;
        match told {
            Told::Kept { asker, id, outcome } => self.hub.tell_kept(&asker, id, outcome, &self.outboxes()),
            Told::Found { handle, ticket, id, found } => {
                handle.session.borrow_mut().looked_up(now, ticket, id, found);
                self.settle(&handle);
            }
            Told::Page { handle, messages, turn } => handle.outbox.borrow_mut().put_stored(&messages, turn),
            Told::Confirmed { handle, messages } => handle.outbox.borrow_mut().tell_confirmed(&messages),
            Told::Withdraw { handle } => {
                handle.session.borrow_mut().withdraw(now, &mut handle.outbox.borrow_mut());
                self.settle(&handle);
            }
        }
    }

    /// The server's application judges what has waited longest; at times it says so twice.
    pub(super) fn judge(&mut self, verdict: Verdict, twice: bool) {
        let next = (!self.asked.is_empty()).then(|| self.asked.remove(0));
        if let (true, Some((cell, ticket))) = (twice, self.judged_last.take()) {
            let before = cell.session.borrow().is_parked();
            cell.session.borrow_mut().resume(self.now, ticket, verdict);
            assert_eq!(cell.session.borrow().is_parked(), before, "an old verdict counts");
        }
        let Some((cell, ticket)) = next else { return };
        assert!(cell.session.borrow().is_parked(), "what is judged is waited for");
        cell.session.borrow_mut().resume(self.now, ticket, verdict);
        self.settle(&cell);
        if cell.session.borrow().state() == SessionState::Ended {
            // What was said before the end still comes to the server's application.
            self.serve(&cell);
        }
        self.judged_last = Some((cell, ticket));
    }

    /// The server's application lets everything pass.
    pub(super) fn judge_all(&mut self) {
        while !self.asked.is_empty() {
            self.judge(Verdict::Pass, false);
        }
    }

    fn outboxes(&self) -> Outboxes<'_> {
        Outboxes(&self.desk_outbox, self.mail.as_ref())
    }

    fn broadcast(&mut self, cell: &Rc<Cell>, fanout: Fanout) {
        let frame = fanout.frame().expect("a client's").clone();
        if let Err(failure) = self.fanouts.push(fanout) {
            cell.outbox.borrow_mut().refuse_fanout(&frame, failure);
        }
    }

    fn settle(&mut self, cell: &Rc<Cell>) {
        let (id, origin, engine): (_, _, Engine) = {
            let session = cell.session.borrow();
            (session.id(), session.origin(), session.engine().clone())
        };
        let rights = cell.session.borrow().rights();
        let party = Party { session: id, origin, engine: &engine, rights, handle: cell };
        loop {
            let Some(command) = cell.session.borrow_mut().poll_hub() else { break };
            match self.hub.carry_out(self.now, &party, command, &self.outboxes()) {
                Some(HubEvent::Broadcast(fanout)) => self.broadcast(cell, *fanout),
                Some(HubEvent::Judge { ticket, .. }) => {
                    assert!(!self.asked.iter().any(|(of, _)| Rc::ptr_eq(of, cell)), "a session waits for two verdicts");
                    self.asked.push((cell.clone(), ticket));
                }
                Some(event) => cell.session.borrow_mut().handle_hub(event),
                None => {}
            }
        }
        loop {
            let Some(change) = cell.session.borrow_mut().poll_change() else { break };
            match change {
                HubChange::Window { until, turn } => self.hub.set_window(&party, turn, until),
                HubChange::Ended { reason, dedupe, attempt, unsent } => {
                    self.hub.remove(self.now, &party, reason, attempt, dedupe);
                    if let Some(mail) = &self.mail {
                        mail.borrow_mut().close_tail(self.now, &engine.user, id, &unsent);
                    }
                }
                HubChange::Request(request) => self.hub.people_request(self.now, &party, request),
                HubChange::Kick { user, id } => {
                    let victims = self.hub.sessions_of(&user);
                    let status = if victims.is_empty() { Err(Failure::Offline) } else { Ok(()) };
                    for victim in victims {
                        self.end(&victim, CloseReason::Kicked);
                    }
                    cell.outbox.borrow_mut().respond(id, status, &[], &[]);
                }
            }
        }
        self.pass_on();
        let closes = cell.session.borrow_mut().poll_close(Generation::FIRST);
        if let Some(reason) = closes
            && cell.session.borrow().state() != SessionState::Ended
        {
            self.end(cell, reason);
        }
    }
}

fn number_of(frame: &RawFrame) -> u32 {
    match frame.decode() {
        Ok(Frame::Broadcast { info_type, .. }) => info_type,
        other => panic!("{other:?} is no broadcast"),
    }
}
