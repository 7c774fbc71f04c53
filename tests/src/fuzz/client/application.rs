//! The application of a client: it asks for everything that can be asked for, and checks what it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use esf_proto::{
    client::{
        BlobEvent, BlobId, BlobRead, CertainOptions, Event, MessageOptions, OutgoingBlob, Policy, SendError,
        SendOptions, Session, TakeBlob,
    },
    failure::Failure,
    ids::{DeviceKind, MessageId, Source, To},
    session::inbound::{MessageKind, QueryToken},
    store::StoreId,
    time::Instant,
    wire::Method,
};

use crate::fuzz::Input;

/// What bodies are made of.
static BODY: [u8; 64 << 10] = [0x5A; 64 << 10];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Certain,
    Query,
    Request,
    Blob,
}

#[derive(Default)]
pub(super) struct Application {
    /// Whether it takes messages.
    pub(super) takes: bool,
    open: BTreeMap<MessageId, Asked>,
    /// The highest id that it was given.
    last: u64,
    queries: Vec<QueryToken>,
    blobs: Vec<BlobId>,
    /// Certain messages that ran.
    ran: BTreeSet<(Source, MessageId)>,
    /// Messages of the store that it has got.
    got: Vec<StoreId>,
    /// What it said that it has handled.
    confirmed: BTreeSet<StoreId>,
    instances: BTreeMap<(String, DeviceKind), BTreeSet<u64>>,
    logged_in: bool,
    closed: bool,
}

impl Application {
    /// Ids that may be open.
    pub(super) fn ids(&self) -> Vec<u64> {
        let open: Vec<u64> = self.open.keys().map(|id| id.0).take(8).collect();
        if open.is_empty() { vec![1, 2] } else { open }
    }

    pub(super) fn command(&mut self, now: Instant, session: &mut Session, input: &mut Input<'_>) {
        match input.below(12) {
            0 | 1 => {
                let options = SendOptions { policy: policy(input), tell: tell(input) };
                let (to, body) = (to(input), body(input));
                gives_back(&body, session.send(now, &to, 1, body.clone(), options));
            }
            2 => {
                let options = MessageOptions { policy: policy(input), echo: input.flag(), tell: tell(input) };
                let (to, body, tag) = (to(input), body(input), input.text());
                gives_back(&body, session.send_message(now, &to, 1, body.clone(), tag, options));
            }
            3..=5 => {
                let (to, body, ttl) = (to(input), body(input), ttl(input));
                let options = CertainOptions { ttl, store_if_offline: input.rarely(3) };
                let asked = session.send_certainly_with(now, &to, 1, body.clone(), options);
                self.note(Asked::Certain, gives_back(&body, asked));
            }
            6 => {
                let (to, body, ttl) = (to(input), body(input), ttl(input));
                let asked = session.query(now, &to, 1, body.clone(), ttl);
                self.note(Asked::Query, gives_back(&body, asked));
            }
            7 => {
                let (to, method) = (to(input), input.of(Method::ALL));
                let asked = session.request(now, &to, method, input.bytes(), input.bytes(), ttl(input));
                self.note(Asked::Request, asked.ok());
            }
            8 => {
                let mut blob = OutgoingBlob::new(9, Some(input.number()).filter(|_| input.flag()));
                (blob.name, blob.can_seek, blob.fragment) = (input.text().into(), input.flag(), input.below(1 << 15));
                let asked = session.send_blob(now, &to(input), &blob);
                self.note(Asked::Blob, asked.ok());
            }
            9 => self.answers(now, session, input),
            10 => {
                if let Some(id) = self.some_blob(input) {
                    session.cancel_blob(now, id);
                }
            }
            _ if input.rarely(8) => session.log_off(now),
            _ => self.confirms(now, session, input),
        }
    }

    /// A handler of a message of the store has returned; at times one is confirmed that never came, or was before.
    fn confirms(&mut self, now: Instant, session: &mut Session, input: &mut Input<'_>) {
        let id = if self.got.is_empty() || input.rarely(4) { StoreId(input.number()) } else { input.of(&self.got) };
        self.confirmed.insert(id);
        session.confirm(now, id);
    }

    /// Whether it has confirmed this.
    pub(super) fn has_confirmed(&self, id: u64) -> bool {
        self.confirmed.contains(&StoreId(id))
    }

    /// The messages of the store that it has got.
    pub(super) fn stored(&self) -> Vec<u64> {
        self.got.iter().rev().map(|id| id.0).take(8).collect()
    }

    fn note(&mut self, kind: Asked, id: Option<MessageId>) {
        let Some(id) = id else { return };
        assert!(id.0 > self.last, "ids count up");
        self.last = id.0;
        self.open.insert(id, kind);
    }

    fn some_blob(&self, input: &mut Input<'_>) -> Option<MessageId> {
        let blobs: Vec<MessageId> =
            self.open.iter().filter(|(_, asked)| **asked == Asked::Blob).map(|(id, _)| *id).collect();
        (!blobs.is_empty()).then(|| input.of(&blobs))
    }

    /// What others asked, and their blobs.
    fn answers(&mut self, now: Instant, session: &mut Session, input: &mut Input<'_>) {
        if !self.queries.is_empty() && input.flag() {
            let token = input.of(&self.queries);
            let answer = if input.flag() { Ok(body(input)) } else { Err(input.of(Failure::ALL)) };
            session.reply(now, token, answer);
        }
        if self.blobs.is_empty() {
            return;
        }
        let blob = input.of(&self.blobs);
        match input.below(5) {
            0 => session.accept_blob(now, blob, TakeBlob::Whole),
            1 => session.accept_blob(now, blob, TakeBlob::Stream),
            2 => session.finish_blob(now, blob, Ok(())),
            3 => session.finish_blob(now, blob, Err(input.of(Failure::ALL))),
            _ => {
                while let BlobRead::Data(data) = session.read_blob(now, blob) {
                    assert!(!data.is_empty(), "there is something in what is read");
                }
            }
        }
    }

    pub(super) fn drain(&mut self, now: Instant, session: &mut Session) {
        while let Some(need) = session.poll_blob_need() {
            let known = self.open.get(&need.id) == Some(&Asked::Blob);
            assert!(known && need.max > 0, "bytes are asked for of what is sent");
            let given = need.max.min(BODY.len());
            session.give_blob(now, need.id, need.offset, Bytes::from_static(&BODY[..given]), need.offset > 300_000);
        }
        while let Some(event) = session.poll_event() {
            assert!(!self.closed, "{event:?} after the last event");
            self.hears(event);
        }
        while self.takes {
            let Some(message) = session.poll_message() else { break };
            self.got.extend(message.stored.as_ref().map(|stored| stored.id));
            match (message.kind, message.id) {
                (MessageKind::Repeated, id) => {
                    assert!(message.stored.is_some() && message.body.is_empty(), "{id:?} is not of the store");
                }
                (_, Some(id)) => self.runs(message.source, id),
                _ => {}
            }
        }
        if session.open_queries() == 0 {
            self.queries.clear();
        }
    }

    fn hears(&mut self, event: Event) {
        match event {
            Event::LoginCompleted { .. } => assert!(!std::mem::replace(&mut self.logged_in, true), "it logs in once"),
            Event::RelogonCompleted { .. } | Event::ConnectionInterrupted { .. } => assert!(self.logged_in),
            Event::Acked { id } => self.ends(id, &[Asked::Certain, Asked::Blob]),
            Event::Stored { id } => self.ends(id, &[Asked::Certain]),
            Event::Replied { id, .. } => self.ends(id, &[Asked::Query]),
            Event::Responded { id, .. } => self.ends(id, &[Asked::Request]),
            Event::Failed { id, .. } => {
                self.ends(id, &[Asked::Certain, Asked::Query, Asked::Request, Asked::Blob]);
            }
            Event::Query(query) => self.queries.push(query.token),
            Event::Blob(BlobEvent::Offered(offer)) => self.blobs.push(offer.blob),
            Event::Closed { .. } => self.closed = true,
            _ => {}
        }
    }

    fn ends(&mut self, id: MessageId, allowed: &[Asked]) {
        let asked = self.open.remove(&id).unwrap_or_else(|| panic!("{id:?} ends and is not open"));
        assert!(allowed.contains(&asked), "{asked:?} {id:?} ends like something else");
    }

    /// At most once for each receiving engine: that remembers the last instances of a device.
    fn runs(&mut self, source: Source, id: MessageId) {
        if let Source::Engine(engine) = &source {
            let of_device = self.instances.entry((engine.user.to_string(), engine.device)).or_default();
            of_device.insert(engine.instance.0);
            if of_device.len() > 4 {
                return;
            }
        } else {
            let of_server = self.instances.entry((String::new(), DeviceKind::SERVICE)).or_default();
            if let Source::Server(instance) = source {
                of_server.insert(instance.0);
            }
            if of_server.len() > 4 {
                return;
            }
        }
        assert!(self.ran.insert((source, id)), "{id:?} ran twice");
    }

    pub(super) fn only_blobs_are_open(&self) {
        assert!(self.closed || self.open.values().all(|asked| *asked == Asked::Blob), "no timer ended {:?}", self.open);
    }

    pub(super) fn is_over(&self) {
        assert!(self.closed, "it says that it is closed");
        assert!(self.open.is_empty(), "no outcome: {:?}", self.open);
    }
}

fn gives_back<T>(body: &Bytes, outcome: Result<T, SendError>) -> Option<T> {
    outcome.map_err(|error| assert_eq!(error.into_body(), *body, "what is not taken is given back")).ok()
}

fn to(input: &mut Input<'_>) -> To {
    let user = super::user(input.of(&["ben", "zoe", "ann", "nobody"]));
    match input.below(3) {
        0 => To::Server,
        1 => To::User(user),
        _ => To::Device(user, DeviceKind(input.byte() % 3)),
    }
}

fn body(input: &mut Input<'_>) -> Bytes {
    let len = input.number().min(BODY.len() as u64);
    Bytes::from_static(&BODY[..usize::try_from(len).expect("small")])
}

fn ttl(input: &mut Input<'_>) -> Option<Duration> {
    Some(input.duration()).filter(|_| input.flag())
}

fn tell(input: &mut Input<'_>) -> Option<u64> {
    Some(input.number()).filter(|_| input.flag())
}

fn policy(input: &mut Input<'_>) -> Policy {
    if input.rarely(3) { Policy::Discard } else { Policy::Queue }
}
