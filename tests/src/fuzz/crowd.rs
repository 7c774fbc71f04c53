//! A store that answers a hub as an input decides, and a book of who may hear what goes to many.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use esf_proto::{
    hub::Progress,
    ids::{Engine, GroupId, SessionId, UserId},
    store::{JobId, Person, StoreFailed, StoreRequest, StoreResponse},
    time::Instant,
    wire::{Address, Flags, RawFrame},
};

use super::{Input, post::Post, town::Cell};

/// How long the hub waits for the store.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(15);
/// Groups of which the store may tell. The last is none of its own, and the hub must not believe it.
pub(super) const GROUPS: [&str; 3] = ["blue", "red", "~g"];

/// The store, and what it has told.
#[derive(Debug, Default)]
pub(super) struct Library {
    asked: Vec<(JobId, Instant, StoreRequest)>,
    /// What is open until when.
    open: BTreeMap<JobId, Instant>,
    /// The last time that it was asked who somebody is.
    latest: BTreeMap<UserId, JobId>,
    /// Groups that somebody is in, as far as can be said, while there is a session.
    surely: BTreeMap<UserId, BTreeSet<String>>,
    /// Groups that somebody may be in.
    maybe: BTreeMap<UserId, BTreeSet<String>>,
    /// Who was ever named a contact of whom, and in which groups somebody ever was.
    contacts: BTreeSet<(UserId, UserId)>,
    ever: BTreeSet<(UserId, String)>,
    /// Answers that nobody can have waited for.
    pub(super) unasked: u64,
    /// The messages.
    pub(super) post: Post,
}

impl Library {
    /// The hub asks.
    pub(super) fn ask(&mut self, now: Instant, job: JobId, request: StoreRequest) {
        assert!(self.open.insert(job, now + STORE_TIMEOUT).is_none(), "{job:?} is asked twice");
        if let StoreRequest::Person { user, .. } = &request {
            self.latest.insert(user.clone(), job);
        }
        self.post.ask(job, &request);
        self.asked.push((job, now, request));
    }

    /// An answer to something that was asked, or to nothing: right, wrong, late, twice.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        input: &mut Input<'_>,
        names: &[&str],
    ) -> (JobId, Result<StoreResponse, StoreFailed>) {
        let how = input.byte();
        let wrong = how & 7 == 7;
        if self.asked.is_empty() || how & 0xF8 == 0xF8 {
            let (job, answer) = (JobId(input.number()), self.other(input));
            let answer = if wrong { Err(StoreFailed::new("no")) } else { Ok(answer) };
            return self.noted(now, (job, answer), None);
        }
        let place = input.below(self.asked.len());
        // One that stays may be answered again.
        let (job, _, request) = if how & 8 == 0 { self.asked.remove(place) } else { self.asked[place].clone() };
        let answer = match how & 7 {
            0..=4 => Ok(self.right(job, &request, input, names)),
            5 | 6 => Ok(self.other(input)),
            _ => Err(StoreFailed::new("it fails")),
        };
        self.noted(now, (job, answer), Some(&request))
    }

    /// The right answer to what has waited longest.
    pub(super) fn answer_next(
        &mut self,
        now: Instant,
        names: &[&str],
    ) -> Option<(JobId, Result<StoreResponse, StoreFailed>)> {
        let (job, _, request) = (!self.asked.is_empty()).then(|| self.asked.remove(0))?;
        let answer = self.right(job, &request, &mut Input::new(&[]), names);
        Some(self.noted(now, (job, Ok(answer)), Some(&request)))
    }

    /// The store knows this person, whoever asked last.
    pub(super) fn introduce(&mut self, now: Instant, user: &UserId, person: Person) -> Option<(JobId, StoreResponse)> {
        let job = *self.latest.get(user)?;
        let place = self.asked.iter().position(|(of, ..)| *of == job)?;
        let (_, _, request) = self.asked.remove(place);
        self.asked.retain(|(.., request)| !matches!(request, StoreRequest::Person { user: of, .. } if of == user));
        let (job, answer) = self.noted(now, (job, Ok(StoreResponse::Person(person))), Some(&request));
        Some((job, answer.ok()?))
    }

    fn noted(
        &mut self,
        now: Instant,
        (job, answer): (JobId, Result<StoreResponse, StoreFailed>),
        request: Option<&StoreRequest>,
    ) -> (JobId, Result<StoreResponse, StoreFailed>) {
        let open = self.open.remove(&job).is_some_and(|until| now < until);
        if !open {
            self.unasked += 1;
            return (job, answer);
        }
        if let Some(request) = request {
            self.post.heard(request, &answer);
        }
        if let (Some(StoreRequest::Person { user, .. }), Ok(StoreResponse::Person(person))) = (request, &answer)
            && self.latest.get(user) == Some(&job)
        {
            let of_store = |group: &&GroupId| !group.is_dynamic();
            let groups: BTreeSet<String> = person.groups.iter().filter(of_store).map(ToString::to_string).collect();
            self.ever.extend(groups.iter().map(|group| (user.clone(), group.clone())));
            self.contacts.extend(person.contacts.iter().map(|contact| (contact.clone(), user.clone())));
            self.maybe.insert(user.clone(), groups.clone());
            self.surely.insert(user.clone(), groups);
        }
        (job, answer)
    }

    /// An answer of the kind that was asked for, with anything in it.
    fn right(&mut self, job: JobId, request: &StoreRequest, input: &mut Input<'_>, names: &[&str]) -> StoreResponse {
        let bits = if is_of_people(request) { input.byte() } else { 0 };
        let chosen = |names: &[&str]| -> Vec<UserId> {
            let chosen = names.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1);
            chosen.map(|(_, name)| UserId::parse(name, 255).expect("a name")).collect()
        };
        match request {
            StoreRequest::Person { .. } => {
                let groups = GROUPS.iter().enumerate().filter(|(place, _)| bits >> (4 + place) & 1 == 1);
                let mut groups: Vec<GroupId> = groups.map(|(_, id)| GroupId::parse(id).expect("a group")).collect();
                if bits & 0x80 != 0 {
                    // In disorder.
                    groups.extend(groups.first().cloned());
                }
                let contacts = chosen(names);
                StoreResponse::Person(Person { exists: true, contacts, groups, cut: bits & 0x80 != 0, stored: false })
            }
            StoreRequest::Contacts { .. } => StoreResponse::Names(chosen(names)),
            StoreRequest::Members { .. } if bits & 0x80 != 0 => StoreResponse::NotFound,
            StoreRequest::Members { .. } => StoreResponse::Names(chosen(names)),
            _ => self.post.right(job, request),
        }
    }

    /// Any answer.
    fn other(&mut self, input: &mut Input<'_>) -> StoreResponse {
        match input.below(9) {
            0 => StoreResponse::Stored,
            1 => StoreResponse::Known,
            2 => StoreResponse::QuotaFull,
            3 => StoreResponse::NoSuchUser,
            4 => StoreResponse::KeepsNone,
            5 => StoreResponse::Found(input.flag()),
            6 => StoreResponse::Done,
            7 => self.post.make_up(input),
            _ => StoreResponse::NotFound,
        }
    }

    /// Somebody has no session any more, and may be forgotten.
    pub(super) fn left(&mut self, user: &str) {
        self.surely.remove(user);
    }

    /// Somebody may be in a dynamic group from now on.
    pub(super) fn may_enter(&mut self, user: &UserId, group: &str) {
        self.ever.insert((user.clone(), group.to_owned()));
    }

    fn surely(&self, user: &str, group: &str) -> bool {
        self.surely.get(user).is_some_and(|groups| groups.contains(group))
    }

    fn maybe(&self, user: &UserId, group: &str) -> bool {
        if group.starts_with('~') {
            return self.ever.contains(&(user.clone(), group.to_owned()));
        }
        self.maybe.get(user).is_some_and(|groups| groups.contains(group))
    }

    /// Whether somebody may ever have heard of a group.
    pub(super) fn knew(&self, user: &UserId, group: &str) -> bool {
        self.ever.contains(&(user.clone(), group.to_owned()))
    }

    /// Whether somebody may hear of the presence of somebody else.
    pub(super) fn may_hear_of(&self, hearer: &UserId, subject: &UserId) -> bool {
        let shares =
            |(user, group): &(UserId, String)| user == subject && self.ever.contains(&(hearer.clone(), group.clone()));
        self.contacts.contains(&(hearer.clone(), subject.clone())) || self.ever.iter().any(shares)
    }
}

/// Broadcasts that were made, by their numbers, and who has got them.
#[derive(Debug, Default)]
pub(super) struct Broadcasts(Vec<Broadcast>);

#[derive(Debug)]
struct Broadcast {
    /// Whose it is; `None` for the server.
    by: Option<(Engine, SessionId)>,
    group: String,
    flags: Flags,
    /// Who was visited.
    visited: BTreeSet<SessionId>,
    /// Who got it.
    got: BTreeSet<SessionId>,
    /// Who has been a member ever since it was begun.
    due: Option<BTreeSet<SessionId>>,
}

/// One session among those that are there.
#[derive(Debug)]
struct Seat {
    session: SessionId,
    user: UserId,
    takes_messages: bool,
}

impl Seat {
    fn of(cell: &Rc<Cell>) -> Self {
        let session = cell.session.borrow();
        let (user, takes_messages) = (session.engine().user.clone(), session.takes_messages());
        Self { session: session.id(), user, takes_messages }
    }
}

impl Broadcasts {
    /// The number of the next one.
    pub(super) fn next(&self) -> u32 {
        u32::try_from(self.0.len()).expect("few broadcasts")
    }

    /// Notes one under its number.
    pub(super) fn made(&mut self, by: Option<&Rc<Cell>>, frame: &RawFrame) {
        let group = match frame.envelope().map(|envelope| envelope.to) {
            Ok(Address::Group { group }) => group.to_owned(),
            _ => String::new(),
        };
        let by = by.map(|cell| (cell.session.borrow().engine().clone(), cell.session.borrow().id()));
        let (visited, got) = (BTreeSet::new(), BTreeSet::new());
        self.0.push(Broadcast { by, group, flags: frame.flags(), visited, got, due: None });
    }

    /// A slice of one, and of others that go `together` with it, was carried out: who was visited may be, and who has to be visited in the end was.
    pub(super) fn carried(
        &mut self,
        number: u32,
        together: usize,
        visited: &[Rc<Cell>],
        progress: Progress,
        there: &[Rc<Cell>],
        library: &Library,
    ) {
        let one = &mut self.0[number as usize];
        let (by, group) = (one.by.clone(), one.group.clone());
        if progress == Progress::Waits {
            assert!(visited.is_empty() && one.due.is_none(), "it waits and goes on");
            return;
        }
        let own = |seat: &Seat| by.as_ref().is_some_and(|(engine, _)| engine.user == seat.user);
        if let (Some((engine, _)), None) = (&by, &one.due) {
            // Refused: its sender is told, and nobody else.
            let refused =
                visited.len() <= together && visited.iter().all(|cell| cell.session.borrow().engine() == engine);
            assert!(refused || library.maybe(&engine.user, &group), "{engine:?} is no member of {group}");
            if !library.surely(&engine.user, &group) && refused && progress == Progress::Done {
                return;
            }
        }
        let echo = one.flags.contains(Flags::ECHO);
        let members = there.iter().map(Seat::of).filter(|seat| seat.takes_messages && (echo || !own(seat)));
        let surely: BTreeSet<SessionId> =
            members.filter(|seat| library.surely(&seat.user, &group)).map(|seat| seat.session).collect();
        let due = one.due.take().map_or(surely.clone(), |due| &due & &surely);
        // One of the others may have asked for an echo.
        let for_it = |seat: &Seat| together == 1 || echo || !own(seat);
        for seat in visited.iter().map(Seat::of).filter(for_it) {
            assert!(echo || !own(&seat), "{:?} hears itself", seat.user);
            assert!(library.maybe(&seat.user, &group), "{} is no member of {group} and hears", seat.user);
            assert!(one.visited.insert(seat.session), "a member is visited twice");
        }
        if progress == Progress::Done {
            assert!(due.is_subset(&one.visited), "members are left out: {due:?}, {:?}", one.visited);
        }
        one.due = Some(due);
    }

    /// A client gets one: it was a member when it went out, gets it once, and in the order of its sender.
    pub(super) fn got(&mut self, session: SessionId, number: u32) {
        let one = &self.0[number as usize];
        assert!(one.visited.contains(&session), "a broadcast that came by another way");
        if !one.flags.contains(Flags::VOLATILE) {
            let after = self.0[number as usize + 1..].iter();
            let mut alike = after.filter(|other| {
                other.by == one.by && other.group == one.group && !other.flags.contains(Flags::VOLATILE)
            });
            assert!(!alike.any(|other| other.got.contains(&session)), "broadcasts of one sender are out of order");
        }
        assert!(self.0[number as usize].got.insert(session), "a broadcast comes twice");
    }
}

fn is_of_people(request: &StoreRequest) -> bool {
    matches!(request, StoreRequest::Person { .. } | StoreRequest::Contacts { .. } | StoreRequest::Members { .. })
}
