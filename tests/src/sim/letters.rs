//! Messages for those who are not there: a second book of what the store has, by what it was asked and has done, and what
//! must hold of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use esf_driver::store::{StoreLimits, StoreRequest, StoreResponse};
use esf_proto::{
    ids::{DeviceKind, InstanceId, MessageId, UserId},
    session::inbound::{Message, MessageKind, Stored},
    store::{StoreId, StoreKey},
    time::Instant,
    wire::{Address, Frame, RawFrame},
};

use super::{
    Event, Sim,
    ledger::{Ledger, Outcome, Party, Sent, Target},
    people::number_of,
    plan::{PLACES, Plan},
    random::Random,
};

/// The kind of a certain message, and its flag for one that is to be stored.
const CERTAIN: u8 = 0x11;
const STORE: u8 = 0x20;
/// So many of a hundred handlers never return, where handlers are slow.
const NEVER: u64 = 3;

/// How long a handler takes at most where they are not slow, in ms.
const SLOWEST: u64 = 3_000;
/// Of a hundred who get a stored message, so many leave as soon as they have read it.
const LEAVE: u64 = 15;

/// One message in the store.
#[derive(Debug)]
struct Letter {
    /// Its number in the ledger, where a stranger's is not.
    number: u32,
    key: StoreKey,
    user: usize,
    device: Option<DeviceKind>,
    accepted_at: u64,
    since: Instant,
    tries: u8,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    /// It was handed out too often.
    Dead,
    /// It is gone, and its key is known until then.
    Confirmed {
        until: u64,
    },
    /// Its time was over, by a clock that may have jumped: it may be gone.
    Expired,
}

/// A look for a message: from when to when.
#[derive(Debug, Clone, Copy)]
struct Find {
    asked: Instant,
    answered: Option<Instant>,
}

/// All that was ever stored.
#[derive(Debug)]
pub struct Letters {
    limits: StoreLimits,
    letters: BTreeMap<StoreId, Letter>,
    of_key: BTreeMap<StoreKey, Vec<StoreId>>,
    of_number: BTreeSet<u32>,
    last: StoreId,
    /// The latest time of day that the store has seen.
    most_wall: u64,
    /// What a client of a user has handled.
    handled: BTreeSet<(usize, StoreId)>,
    finds: BTreeMap<StoreKey, Find>,
}

/// What is wrong, in words.
type Wrong = Option<String>;

impl Letters {
    pub(super) fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            letters: BTreeMap::new(),
            of_key: BTreeMap::new(),
            of_number: BTreeSet::new(),
            last: StoreId(0),
            most_wall: 0,
            handled: BTreeSet::new(),
            finds: BTreeMap::new(),
        }
    }

    /// Whether a message was ever durable.
    pub(super) fn was_stored(&self, number: u32) -> bool {
        self.of_number.contains(&number)
    }

    /// When a message was stored last.
    fn last_of(&self, number: u32) -> Option<Instant> {
        self.letters.values().rev().find(|letter| letter.number == number).map(|letter| letter.since)
    }

    fn is_over(&self, letter: &Letter, wall: u64) -> bool {
        let age = u64::try_from(self.limits.max_age.as_millis()).unwrap_or(u64::MAX);
        letter.accepted_at.saturating_add(age) <= wall
    }

    fn of(&self, key: &StoreKey) -> impl Iterator<Item = &Letter> {
        self.of_key.get(key).into_iter().flatten().filter_map(|id| self.letters.get(id))
    }

    /// Whether the store has to know this key.
    fn must_know(&self, letter: &Letter) -> bool {
        match letter.state {
            State::Waits | State::Dead => true,
            State::Confirmed { until } => until > self.most_wall,
            State::Expired => false,
        }
    }

    /// The server asks for something.
    fn is_asked(&mut self, now: Instant, request: &StoreRequest) -> Wrong {
        match request {
            StoreRequest::Find { key } => {
                self.finds.insert(key.clone(), Find { asked: now, answered: None });
                None
            }
            StoreRequest::Confirm { user, messages } => {
                let user = number_of(user)?;
                let of_user = |id: &&StoreId| self.letters.get(id).is_some_and(|letter| letter.user == user);
                let early = messages.iter().filter(of_user).find(|id| !self.handled.contains(&(user, **id)))?;
                let number = self.letters.get(early).map(|letter| letter.number);
                Some(format!("the server lets {early:?} go, which is #{number:?}, and no handler of it has returned"))
            }
            _ => None,
        }
    }

    fn is_found(&mut self, now: Instant, request: &StoreRequest) {
        if let StoreRequest::Find { key } = request
            && let Some(find) = self.finds.get_mut(key)
        {
            find.answered.get_or_insert(now);
        }
    }

    /// The store has done something.
    pub(super) fn is_done(
        &mut self,
        now: Instant,
        wall: u64,
        request: &StoreRequest,
        response: &StoreResponse,
        ledger: &Ledger,
    ) -> Wrong {
        self.most_wall = self.most_wall.max(wall);
        let over: Vec<StoreId> =
            self.letters.iter().filter(|(_, letter)| self.is_over(letter, wall)).map(|(id, _)| *id).collect();
        for id in over {
            let letter = self.letters.get_mut(&id);
            if let Some(letter) = letter.filter(|letter| matches!(letter.state, State::Waits | State::Dead)) {
                letter.state = State::Expired;
            }
        }
        match (request, response) {
            (StoreRequest::Put { key, user, device, frame }, _) => {
                let number = number_in_frame(frame)?;
                let letter = Letter {
                    number,
                    key: key.clone(),
                    user: number_of(user)?,
                    device: *device,
                    accepted_at: wall,
                    since: now,
                    tries: 0,
                    state: State::Waits,
                };
                self.is_put(letter, response, ledger)
            }
            (StoreRequest::Confirm { user, messages }, _) => {
                let until = wall + u64::try_from(self.limits.keep_keys.as_millis()).unwrap_or(0);
                // What is too old may be gone with its key.
                for letter in self.those(user, messages).filter(|letter| letter.state != State::Expired) {
                    letter.state = State::Confirmed { until };
                }
                None
            }
            (StoreRequest::Tried { user, messages }, _) => {
                let most = self.limits.max_tries;
                for letter in self.those(user, messages).filter(|letter| letter.state != State::Dead) {
                    letter.tries += 1;
                    if letter.tries >= most && letter.state == State::Waits {
                        letter.state = State::Dead;
                    }
                }
                None
            }
            _ => None,
        }
    }

    /// These messages of a user, but for what is gone.
    fn those(&mut self, user: &UserId, messages: &[StoreId]) -> impl Iterator<Item = &mut Letter> {
        let (user, messages) = (number_of(user), messages.to_vec());
        let there = |letter: &Letter| !matches!(letter.state, State::Confirmed { .. });
        let of_user = move |letter: &Letter| Some(letter.user) == user && there(letter);
        let named = move |id: &StoreId| messages.contains(id);
        self.letters.iter_mut().filter(move |(id, letter)| named(id) && of_user(letter)).map(|(_, letter)| letter)
    }

    fn is_put(&mut self, letter: Letter, response: &StoreResponse, ledger: &Ledger) -> Wrong {
        let Letter { number, user, .. } = letter;
        let known = self.of(&letter.key).any(|before| self.must_know(before));
        match response {
            StoreResponse::Stored => {
                let meant = ledger.sent(number).is_none_or(|sent| sent.storable && is_for(sent, &letter));
                self.last.0 += 1;
                self.of_key.entry(letter.key.clone()).or_default().push(self.last);
                self.of_number.insert(number);
                self.letters.insert(self.last, letter);
                let wrong = if known { "twice" } else { "for somebody it is not for" };
                (known || !meant).then(|| format!("#{number} is stored {wrong}"))
            }
            StoreResponse::Known if !self.of_key.contains_key(&letter.key) => {
                Some(format!("#{number} is known, and was never stored"))
            }
            StoreResponse::QuotaFull => {
                let there = |of: &&Letter| of.user == user && matches!(of.state, State::Waits | State::Expired);
                let waiting = self.letters.values().filter(there).count();
                let full = waiting >= self.limits.max_messages;
                (!full).then(|| format!("#{number} finds no room beside {waiting} others"))
            }
            _ => None,
        }
    }

    /// A message of the store comes to a client.
    fn comes(&self, stored: &Stored, number: u32, place: usize) -> Wrong {
        let Some(letter) = self.letters.get(&stored.id) else { return Some("it is not in the store".into()) };
        let (user, device) = (PLACES[place].user, PLACES[place].device);
        if letter.number != number {
            return Some(format!("in the store it is #{}", letter.number));
        }
        if letter.user != user || letter.device.is_some_and(|only| only != device) {
            return Some(format!("it is for {:?}", (letter.user, letter.device)));
        }
        if (letter.accepted_at, true) != (stored.accepted_at.0, stored.tries <= letter.tries) {
            return Some(format!("the store took it at {}, tried {} times", letter.accepted_at, letter.tries));
        }
        None
    }

    /// A copy goes out to a session that began then, not from the store: the store must not have had it by then.
    fn goes_out_live(&self, key: &StoreKey, began: Instant) -> Wrong {
        let kept = self.of(key).find(|letter| letter.since < began && self.must_know(letter))?;
        // Whoever looked for it just before is told of that later.
        let looked = self.finds.get(key).is_some_and(|find| {
            find.asked <= kept.since && find.answered.is_none_or(|answered| answered >= kept.since)
        });
        (!looked).then(|| format!("#{} goes out again, which the store has had since {:?}", kept.number, kept.since))
    }

    /// Messages that wait for somebody who is there and never had them.
    fn undelivered(&self, sim: &Sim) -> Option<u32> {
        let waits = |letter: &&Letter| {
            let Some(sent) = sim.ledger.sent(letter.number) else { return false };
            let promised = matches!(sent.outcome, Some((Outcome::Stored, _)));
            let there = |engine: &usize| sim.engines[*engine].online && is_at(letter, sim.engines[*engine].place);
            let there: Vec<usize> = (0..sim.engines.len()).filter(there).collect();
            let has_it = |engine: &usize| {
                let party = Party::Engine(*engine);
                sent.runs.contains(&party) || sent.held.contains(&party)
            };
            letter.state == State::Waits && promised && !there.is_empty() && !there.iter().any(has_it)
        };
        self.letters.values().find(waits).map(|letter| letter.number)
    }
}

fn is_at(letter: &Letter, place: usize) -> bool {
    let Some(place) = PLACES.get(place) else { return false };
    place.user == letter.user && letter.device.is_none_or(|only| only == place.device)
}

/// Whether something that was sent is for those whom the store keeps it for.
fn is_for(sent: &Sent, letter: &Letter) -> bool {
    match sent.to {
        Target::User(user) => (letter.user, letter.device) == (user, None),
        Target::Device(place) => (letter.user, letter.device) == (PLACES[place].user, Some(PLACES[place].device)),
        Target::Server | Target::Group(_) => false,
    }
}

fn number_in_frame(frame: &bytes::Bytes) -> Option<u32> {
    match RawFrame::parse(frame.clone()).ok()?.decode().ok()? {
        Frame::Certain { info_type, .. } => Some(info_type),
        _ => None,
    }
}

/// The number and the key of a certain message that is to be stored.
fn storable(frame: &bytes::Bytes) -> Option<(u32, StoreKey)> {
    if frame.get(4) != Some(&CERTAIN) || frame.get(5).is_none_or(|flags| flags & STORE == 0) {
        return None;
    }
    let raw = RawFrame::parse(frame.clone()).ok()?;
    let Ok(Frame::Certain { envelope, info_type, .. }) = raw.decode() else { return None };
    let (user, instance) = match envelope.from {
        Address::Engine { user, instance, .. } => (UserId::parse(user, 64).ok(), instance),
        Address::Server { instance } => (None, InstanceId(instance)),
        _ => return None,
    };
    Some((info_type, StoreKey { user, instance, id: MessageId(envelope.id) }))
}

/// How long the handler of a stored message takes; `None` if it never returns.
fn handling(plan: &Plan, number: u32) -> Option<Duration> {
    let mut random = Random::new(u64::from(number) ^ 0xC3C3);
    if plan.handlers.never > 0 && random.percent(NEVER) {
        return None;
    }
    let slowest = u64::try_from(plan.handlers.slowest.as_millis()).unwrap_or(0).max(SLOWEST);
    Some(if random.percent(50) { Duration::ZERO } else { random.millis(0, slowest) })
}

impl Sim {
    /// The server asks the store for something.
    pub(super) fn letters_are_asked_for(&mut self, request: &StoreRequest) {
        let now = self.now;
        if let Some(text) = self.store.letters.is_asked(now, request) {
            self.violate("11 confirm", text);
        }
    }

    /// Somebody hears what the store said.
    pub(super) fn letters_are_answered(&mut self, request: &StoreRequest) {
        let now = self.now;
        self.store.letters.is_found(now, request);
    }

    /// A message of the store comes to a client. Says whether a handler is to run.
    pub(super) fn letter_comes(&mut self, engine: usize, message: &Message) -> bool {
        let Some(stored) = &message.stored else { return true };
        let (number, party) = (message.info_type, Party::Engine(engine));
        let place = self.engines[engine].place;
        if let Some(text) = self.store.letters.comes(stored, number, place) {
            let name = &self.engines[engine].name;
            self.violate("11 envelope", format!("{name} gets #{number} as {stored:?}; {text}"));
            return false;
        }
        let is_new = message.kind != MessageKind::Repeated;
        let ran = |sent: &Sent| sent.runs.contains(&party) || sent.held.contains(&party);
        if !is_new && self.ledger.sent(number).is_some_and(|sent| !ran(sent)) {
            let name = &self.engines[engine].name;
            self.violate("1 once", format!("{name} takes #{number} for one that it had, and never ran it"));
        }
        let id = stored.id;
        if self.has_fault("people who stay away") && !self.quiet && self.chance.percent(LEAVE) {
            // As another device of theirs comes, if there is one.
            let user = self.engines[engine].session.engine().user.clone();
            self.comes_back(&user, Duration::ZERO);
            let soon = self.chance.millis(0, SLOWEST / 2);
            self.plan_in(soon, Event::Leaves(engine));
        }
        match handling(&self.plan, number) {
            // Those before it from the same source were handled: so is one that is repeated.
            Some(after) if after.is_zero() || !is_new => self.handler_returns(engine, id),
            Some(after) => self.plan_in(after, Event::Handled(engine, id)),
            None => {}
        }
        is_new
    }

    /// The handler of a stored message returns: the driver confirms.
    pub(super) fn handler_returns(&mut self, engine: usize, id: StoreId) {
        let now = self.now;
        let of = &mut self.engines[engine];
        if of.dead || of.over.is_some() {
            return;
        }
        let local = of.clock.shows(now);
        of.session.confirm(local, id);
        self.store.letters.handled.insert((PLACES[of.place].user, id));
        self.plan_in(Duration::ZERO, Event::Application(engine));
    }

    /// Somebody has read something and goes away.
    pub(super) fn leaves(&mut self, engine: usize) {
        if !self.quiet && !self.engines[engine].is_gone() {
            super::workload::logs_off(self, engine);
        }
    }

    /// A frame goes out to a client.
    pub(super) fn letter_goes_out(&mut self, engine: usize, frame: &bytes::Bytes) {
        let Some((number, key)) = storable(frame) else { return };
        if let Some(sent) = self.ledger.sent_mut(number) {
            sent.handed = true;
        }
        if let Some(text) = self.store.letters.goes_out_live(&key, self.engines[engine].began) {
            let name = &self.engines[engine].name;
            self.violate("11 again", format!("{text}, to {name}"));
        }
    }

    /// Whether what comes to `by` is in the order in which it was sent: not where the store brought it late, another device
    /// had it before, or it was taken back because of its time.
    pub(super) fn keeps_order(&self, number: u32, by: Party, stored: bool) -> bool {
        let (Some(sent), Party::Engine(engine)) = (self.ledger.sent(number), by) else { return true };
        let user = PLACES[self.engines[engine].place].user;
        let alone = PLACES.iter().take(self.plan.places).filter(|place| place.user == user).count() == 1;
        if !stored {
            // One to a user that comes again goes to all devices, behind what was stored for one of them.
            let again = self.plan.server.store && self.engines[engine].started > sent.at;
            return alone || !again || sent.to != Target::User(user);
        }
        let late = matches!(sent.outcome, Some((Outcome::Failed(_), _)));
        // When half of its time is over, or 5 s before all of it (ESF-352), by a clock that may be fast.
        let left = sent.ttl - Duration::from_secs(5).min(sent.ttl / 2);
        let taken_back =
            self.store.letters.last_of(number).is_some_and(|stored| stored.since(sent.at) * 102 / 100 >= left);
        !taken_back
            && (alone || matches!(sent.to, Target::Device(_)))
            && !late
            && !self.store.failed(user, sent.at, self.now)
    }

    /// Whether nobody who is there waits for something out of the store.
    pub(super) fn has_its_mail(&self) -> bool {
        self.store.letters.undelivered(self).is_none()
    }
}

/// What was answered as stored was durable before, waits, ran, is set aside or was too old; and what is gone was handled.
pub(super) fn nothing_stored_is_lost(sim: &Sim) -> Result<(), String> {
    let book = &sim.store.letters;
    for letter in book.letters.values() {
        let Some(sent) = sim.ledger.sent(letter.number) else { continue };
        let gone = matches!(letter.state, State::Confirmed { .. });
        if gone && sent.runs.is_empty() && sent.held.is_empty() {
            return Err(format!("#{} is confirmed, and nobody ran it: {sent:?}", letter.number));
        }
    }
    for place in PLACES {
        let there: BTreeSet<StoreId> = sim.store.waiting(place.user, place.device).into_iter().collect();
        let of_place =
            |letter: &Letter| letter.user == place.user && letter.device.is_none_or(|device| device == place.device);
        for (id, letter) in book.letters.iter().filter(|(_, letter)| of_place(letter)) {
            let waits = there.contains(id);
            let wrong = match letter.state {
                State::Waits => !waits && !book.is_over(letter, sim.store.wall()),
                State::Dead | State::Confirmed { .. } => waits,
                State::Expired => false,
            };
            if wrong {
                return Err(format!("{id:?} is in the store: {waits}; it should be as {letter:?}"));
            }
        }
    }
    Ok(())
}

/// Whoever is there has what waits in the store.
pub(super) fn what_is_stored_is_delivered(sim: &Sim) -> Result<(), String> {
    let Some(number) = sim.store.letters.undelivered(sim) else { return Ok(()) };
    Err(format!("#{number} waits in the store though its receiver is there: {:?}", sim.ledger.sent(number)))
}
