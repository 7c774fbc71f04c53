//! Any frame that can be built, as owned parts that a frame borrows from.

use std::{string::String, vec::Vec};

use proptest::{collection::vec, option, prelude::*, sample::select, string::string_regex};

use super::*;

#[derive(Debug, Clone)]
pub(super) enum OwnedAddress {
    Server(u64),
    User(String),
    Device(String, u8),
    Engine(String, u8, u64),
    Group(String),
}

impl OwnedAddress {
    fn borrow(&self) -> Address<'_> {
        match self {
            Self::Server(instance) => Address::Server { instance: *instance },
            Self::User(user) => Address::User { user },
            Self::Device(user, device) => Address::Device { user, device: DeviceKind(*device) },
            Self::Engine(user, device, instance) => engine(user, *device, *instance),
            Self::Group(group) => Address::Group { group },
        }
    }
}

/// What any built frame is made of.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    kind: Kind,
    to: OwnedAddress,
    to_answer: OwnedAddress,
    from: OwnedAddress,
    small: [u8; 4],
    short: u16,
    middle: [u32; 7],
    large: [u64; 5],
    bits: [bool; 3],
    secret: [u8; 16],
    user: String,
    text: String,
    blobs: [Vec<u8>; 3],
    ticket: Vec<u8>,
    header: Header,
    extensions: Vec<(u8, Vec<u8>)>,
}

const BUILT: fn() -> Vec<Kind> = || Kind::ALL.iter().copied().filter(|kind| kind.is_built()).collect();

/// Text of any characters but control ones. All of those take an interpreter half a minute to list.
fn text(len: core::ops::RangeInclusive<u8>) -> impl Strategy<Value = String> {
    let class = if cfg!(miri) { "[a-c\u{e4}\u{20ac}\u{1f600}]" } else { "\\PC" };
    let regex = std::format!("{class}{{{},{}}}", len.start(), len.end());
    string_regex(&regex).expect("a sound expression")
}

fn user_name() -> impl Strategy<Value = String> {
    text(1..=8)
}

fn end() -> BoxedStrategy<OwnedAddress> {
    prop_oneof![
        any::<u64>().prop_map(OwnedAddress::Server),
        (user_name(), any::<u8>(), any::<u64>())
            .prop_map(|(user, device, instance)| OwnedAddress::Engine(user, device, instance)),
    ]
    .boxed()
}

fn target() -> BoxedStrategy<OwnedAddress> {
    prop_oneof![
        end(),
        user_name().prop_map(OwnedAddress::User),
        (user_name(), any::<u8>()).prop_map(|(user, device)| OwnedAddress::Device(user, device)),
        user_name().prop_map(OwnedAddress::Group),
    ]
    .boxed()
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn extensions() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    proptest::collection::btree_map(any::<u8>(), vec(any::<u8>(), 0..12), 0..4)
        .prop_map(|map| map.into_iter().collect())
}

/// Every kind, with every combination of flags that is allowed on it.
pub(super) fn parts() -> impl Strategy<Value = Parts> {
    let who = (select(BUILT()), target(), end(), end());
    let numbers = (any::<[u8; 4]>(), any::<u16>(), any::<[u32; 7]>(), any::<[u64; 5]>(), any::<[bool; 3]>());
    let texts = (text(0..=12), text(0..=30), [blob(), blob(), blob()], vec(any::<u8>(), 0..=MAX_TICKET));
    let head = (any::<u8>(), any::<u8>(), option::of(extensions()), any::<[u8; 16]>());
    (who, numbers, texts, head).prop_map(|(who, numbers, texts, head)| {
        let (kind, to, to_answer, from) = who;
        let (small, short, middle, large, bits) = numbers;
        let (user, text, blobs, ticket) = texts;
        let (flags, hop, extensions, secret) = head;
        let not_allowed = if kind.may_be_volatile() { Flags::NONE } else { Flags::VOLATILE };
        let header = Header { flags: Flags::from_bits(flags).without(not_allowed), hop: Hop::from_bits(hop) };
        let extensions = extensions.unwrap_or_default();
        Parts {
            kind,
            to,
            to_answer,
            from,
            small,
            short,
            middle,
            large,
            bits,
            secret,
            user,
            text,
            blobs,
            ticket,
            header,
            extensions,
        }
    })
}

fn pick<T: Copy>(all: &[T], number: u8) -> T {
    all[usize::from(number) % all.len()]
}

impl Parts {
    pub(super) fn header(&self) -> Header {
        self.header
    }

    pub(super) fn extensions(&self) -> Vec<(u8, &[u8])> {
        self.extensions.iter().map(|(tag, value)| (*tag, &value[..])).collect()
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        self.frame().encode_with(self.header, &self.extensions(), out).expect("encodes");
    }

    pub(super) fn frame(&self) -> Frame<'_> {
        let [body, cursor, token] = self.blobs.each_ref().map(|blob| &blob[..]);
        let [info_type, ttl_ms, ..] = self.middle;
        let to = match self.kind {
            kind if kind.is_answer() => self.to_answer.borrow(),
            Kind::Broadcast => Address::Group { group: "~g" },
            _ => self.to.borrow(),
        };
        let envelope = Envelope::new(to, self.from.borrow(), self.large[0]);
        let failure = pick(Failure::ALL, self.small[0]);
        let status = if self.bits[0] { Ok(()) } else { Err(failure) };
        match self.kind {
            Kind::Login => Frame::Login(self.login(body, token)),
            Kind::LoginResult => Frame::LoginResult(self.login_result()),
            Kind::PreQuery => Frame::PreQuery { info_type, body },
            Kind::PreReply => Frame::PreReply { status, body },
            Kind::Close => Frame::Close { reason: pick(CloseReason::ALL, self.small[1]), text: &self.text },
            Kind::Count => Frame::Count { received: self.middle[0], taken: self.middle[1] },
            Kind::Heartbeat => Frame::Heartbeat { nonce: self.middle[0] },
            Kind::HeartbeatAck => Frame::HeartbeatAck { nonce: self.middle[0] },
            Kind::GoAway => Frame::GoAway { retry_after_ms: self.middle[0] },
            Kind::Send => Frame::Send { envelope, info_type, body },
            Kind::Certain => Frame::Certain { envelope, ttl_ms, info_type, body },
            Kind::Broadcast => Frame::Broadcast { envelope, info_type, body },
            Kind::EngineMessage => Frame::EngineMessage { envelope, info_type, tag: &self.text, body },
            Kind::Query => Frame::Query { envelope, ttl_ms, info_type, body },
            Kind::Reply => Frame::Reply { envelope, body },
            Kind::Ack => Frame::Ack { envelope },
            Kind::Credit => Frame::Credit { stream: self.large[1], offset: self.large[2] },
            Kind::Fragment => {
                Frame::Fragment { stream: self.large[1], offset: self.large[2], last: self.bits[0], data: body }
            }
            Kind::Stored => {
                Frame::Stored { envelope, accepted_at_ms: self.large[1], tries: self.small[1], frame: body }
            }
            Kind::Confirm => Frame::Confirm { envelope },
            Kind::Accepted => Frame::Accepted { envelope },
            Kind::BlobOffer => {
                let total = self.bits[0].then_some(self.large[2]);
                Frame::BlobOffer { envelope, stream: self.large[1], total, info_type, name: &self.text }
            }
            Kind::BlobEnd => Frame::BlobEnd { envelope, stream: self.large[1], total: self.large[2] },
            Kind::BlobCancel => Frame::BlobCancel { envelope, stream: self.large[1], code: failure },
            Kind::Presence => {
                const LISTS: [&[u8]; 2] = [b"\x01\x06\x01\x03ann", b"\x02\x01\x01\x03ann\x03\x02\x03ann\x01"];
                let events = PresenceList::decode(pick(&LISTS, self.small[1])).expect("a list");
                Frame::Presence { envelope, events }
            }
            Kind::GroupEvent => {
                let event = pick(GroupEventKind::ALL, self.small[0]);
                let group = if self.user.is_empty() { "~" } else { &self.user };
                Frame::GroupEvent { envelope, event, group, detail: &self.text }
            }
            Kind::Failure => Frame::Failure { envelope, about: self.small[2], code: failure },
            Kind::Request => Frame::Request { envelope, ttl_ms, method: self.short, cursor, body },
            Kind::Response => Frame::Response { envelope, status, cursor, body },
            other => panic!("{other:?} is built but not tested"),
        }
    }

    fn login<'a>(&'a self, credential: &'a [u8], system_token: &'a [u8]) -> Login<'a> {
        let kind = CredentialKind::from_u8(self.small[3] % 4).expect("in the table");
        Login {
            instance: InstanceId(self.large[0]),
            attempt: self.middle[0],
            interactive: self.bits[0],
            takes_messages: self.bits[1],
            device: DeviceKind(self.small[0]),
            heartbeat_ms: self.middle[1],
            login_number: self.large[1],
            user: &self.user,
            credential: Credential { kind, bytes: credential },
            system_token,
            ticket: &self.ticket,
            resume: self.bits[2].then_some(Resume { secret: ResumeSecret(self.secret), received: self.middle[2] }),
        }
    }

    fn login_result(&self) -> LoginResult<'_> {
        match pick(LoginCode::ALL, self.small[0]) {
            LoginCode::Succeed => LoginResult::Succeed(Welcome {
                mode: if self.bits[0] { Mode::Fresh } else { Mode::Resumed },
                secret: ResumeSecret(self.secret),
                received: self.middle[0],
                login_number: self.large[0],
                server_instance: InstanceId(self.large[1]),
                rights: Rights::from_bits(self.middle[1]),
                max_frame: self.middle[2],
                window: self.middle[3],
                resume_window_ms: self.middle[4],
                heartbeat_limit_ms: self.middle[5],
                max_blob: self.large[2],
                max_user_id: self.small[1],
                server_time_ms: self.large[3],
                product: &self.user,
                ticket: &self.ticket,
            }),
            result => LoginResult::Refused { result, cause: &self.text },
        }
    }
}
