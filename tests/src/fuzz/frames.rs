//! Frames as an input decides them: of every kind, between people who may be there, and spoiled ones.

use bytes::{Bytes, BytesMut};
use esf_proto::{
    close::CloseReason,
    failure::{Failure, Status},
    ids::{DeviceKind, InstanceId},
    login::{CredentialKind, LoginCode, Mode, ResumeSecret, Rights},
    wire::{
        Address, Credential, Envelope, Flags, Frame, GroupEventKind, Header, Hop, Kind, Login, LoginResult,
        PresenceList, Resume, Welcome, requests,
    },
};

use super::Input;

/// Whom frames are between, and which numbers are in use.
#[derive(Debug, Default, Clone)]
pub(super) struct Cast<'a> {
    /// Who writes a frame, mostly.
    pub(super) from: Vec<Address<'a>>,
    /// Whom it is for, mostly.
    pub(super) to: Vec<Address<'a>>,
    /// Ids of operations.
    pub(super) ids: Vec<u64>,
    /// Ids of streams.
    pub(super) streams: Vec<u64>,
}

/// The kinds that have frames.
fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| kind.is_built())
}

impl<'a> Cast<'a> {
    /// A frame of any kind.
    pub(super) fn frame(&self, input: &mut Input<'a>) -> Frame<'a> {
        let kinds: Vec<Kind> = kinds().collect();
        let kind = input.of(&kinds);
        self.frame_of(kind, input)
    }

    /// A frame that is routed.
    pub(super) fn routed(&self, input: &mut Input<'a>) -> Frame<'a> {
        let kinds: Vec<Kind> = kinds().filter(|kind| *kind as u8 >= 0x10).collect();
        let kind = input.of(&kinds);
        self.frame_of(kind, input)
    }

    /// A frame of this kind.
    ///
    /// # Panics
    /// If it is none that is built.
    pub(super) fn frame_of(&self, kind: Kind, input: &mut Input<'a>) -> Frame<'a> {
        match kind {
            Kind::Login => Frame::Login(login(input)),
            Kind::LoginResult => Frame::LoginResult(login_result(input)),
            Kind::PreQuery => Frame::PreQuery { info_type: input.number32(), body: input.bytes() },
            Kind::PreReply => Frame::PreReply { status: status(input), body: input.bytes() },
            Kind::Close => Frame::Close { reason: input.of(CloseReason::ALL), text: input.text() },
            Kind::Count => Frame::Count { received: input.number32(), taken: input.number32() },
            Kind::Heartbeat => Frame::Heartbeat { nonce: input.number32() },
            Kind::HeartbeatAck => Frame::HeartbeatAck { nonce: input.number32() },
            Kind::GoAway => Frame::GoAway { retry_after_ms: input.number32() },
            Kind::Credit => Frame::Credit { stream: self.stream(input), offset: input.number() },
            Kind::Fragment => {
                let (stream, offset) = (self.stream(input), input.number());
                Frame::Fragment { stream, offset, last: input.rarely(4), data: input.bytes() }
            }
            _ => self.routed_of(kind, input),
        }
    }

    /// A message to many.
    pub(super) fn broadcast(&self, input: &mut Input<'a>) -> Frame<'a> {
        let groups: Vec<Address<'a>> =
            self.to.iter().copied().filter(|to| matches!(to, Address::Group { .. })).collect();
        let envelope = Envelope { to: input.of(&groups), ..self.envelope(input) };
        Frame::Broadcast { envelope, info_type: input.number32(), body: input.bytes() }
    }

    /// A certain message to somebody who may not be there.
    pub(super) fn storable(&self, input: &mut Input<'a>) -> Frame<'a> {
        let people = |to: &Address<'a>| matches!(to, Address::User { .. } | Address::Device { .. });
        let people: Vec<Address<'a>> = self.to.iter().copied().filter(people).collect();
        let envelope = Envelope::new(input.of(&people), self.from[0], self.id(input));
        let ttl_ms = u32::try_from(input.duration().as_millis()).expect("minutes");
        Frame::Certain { envelope, ttl_ms, info_type: 1, body: input.bytes() }
    }

    /// A message of somebody else as a store may have it for whom frames come to here.
    pub(super) fn stored(&self, input: &mut Input<'a>) -> Frame<'a> {
        let envelope = Envelope::new(input.of(&self.to), input.of(&self.from), self.id(input));
        Frame::Certain { envelope, ttl_ms: 1_000, info_type: 1, body: input.bytes() }
    }

    /// A confirm of a message of the store.
    pub(super) fn confirm(&self, id: u64) -> Frame<'a> {
        Frame::Confirm { envelope: Envelope::new(Address::Server { instance: 0 }, self.from[0], id) }
    }

    /// A request about contacts or groups that is well made.
    pub(super) fn group_request(&self, input: &mut Input<'a>) -> Frame<'a> {
        const OF_GROUP: [&[u8]; 4] = [b"\x02~g", b"\x02~h", b"\x03red", b"\x04blue"];
        const OF_MEMBER: [&[u8]; 4] = [b"\x02~g\x03ann", b"\x02~g\x03ben", b"\x02~g\x03zoe", b"\x02~h\x03ann"];
        const OF_TAG: [&[u8]; 2] = [b"\x02~g\x01\0t", b"\x02~h\0\0"];
        const PAGES: [&[u8]; 2] = [b"\0\0", b"\x01\0"];
        const MEMBERS: [&[u8]; 3] = [b"\x02~g\0\0", b"\x03red\x01\0", b"\x04blue\0\0"];
        use requests::Method::{
            Contacts, GroupInvite, GroupJoin, GroupMembers, GroupPullIn, GroupQuit, GroupRemove, GroupTag, MyGroups,
            OnlineContacts,
        };
        let (method, body) = match input.below(10) {
            0 => (GroupJoin, input.of(&OF_GROUP)),
            1 => (GroupQuit, input.of(&OF_GROUP)),
            2 => (GroupInvite, input.of(&OF_MEMBER)),
            3 => (GroupPullIn, input.of(&OF_MEMBER)),
            4 => (GroupRemove, input.of(&OF_MEMBER)),
            5 => (GroupTag, input.of(&OF_TAG)),
            6 => (Contacts, input.of(&PAGES)),
            7 => (OnlineContacts, input.of(&PAGES)),
            8 => (MyGroups, input.of(&PAGES)),
            _ => (GroupMembers, input.of(&MEMBERS)),
        };
        let cursor = if input.rarely(4) { input.bytes() } else { b"" };
        let envelope = Envelope { to: Address::Server { instance: 0 }, ..self.envelope(input) };
        Frame::Request { envelope, ttl_ms: 30_000, method: method as u16, cursor, body }
    }

    fn routed_of(&self, kind: Kind, input: &mut Input<'a>) -> Frame<'a> {
        let envelope = self.envelope(input);
        match kind {
            Kind::Send => Frame::Send { envelope, info_type: input.number32(), body: input.bytes() },
            Kind::Certain => {
                Frame::Certain { envelope, ttl_ms: input.number32(), info_type: input.number32(), body: input.bytes() }
            }
            Kind::Broadcast => Frame::Broadcast { envelope, info_type: input.number32(), body: input.bytes() },
            Kind::EngineMessage => {
                let (info_type, tag) = (input.number32(), input.text());
                Frame::EngineMessage { envelope, info_type, tag, body: input.bytes() }
            }
            Kind::Query => {
                Frame::Query { envelope, ttl_ms: input.number32(), info_type: input.number32(), body: input.bytes() }
            }
            Kind::Reply => Frame::Reply { envelope, body: input.bytes() },
            Kind::Ack => Frame::Ack { envelope },
            Kind::Failure => Frame::Failure { envelope, about: input.byte() % 0x40, code: input.of(Failure::ALL) },
            Kind::Request => self.request(envelope, input),
            Kind::Response => {
                let status = status(input);
                Frame::Response { envelope, status, cursor: input.bytes(), body: input.bytes() }
            }
            Kind::Stored => {
                Frame::Stored { envelope, accepted_at_ms: input.number(), tries: input.byte(), frame: input.bytes() }
            }
            Kind::Confirm => Frame::Confirm { envelope },
            Kind::Accepted => Frame::Accepted { envelope },
            Kind::BlobOffer => {
                let (stream, total) = (self.stream(input), Some(input.number()).filter(|_| input.flag()));
                Frame::BlobOffer { envelope, stream, total, info_type: input.number32(), name: input.text() }
            }
            Kind::BlobEnd => Frame::BlobEnd { envelope, stream: self.stream(input), total: input.number() },
            Kind::BlobCancel => {
                Frame::BlobCancel { envelope, stream: self.stream(input), code: input.of(Failure::ALL) }
            }
            Kind::Presence => {
                const LISTS: [&[u8]; 3] =
                    [b"\x01\x01\x01\x03ann", b"\x02\x06\x01\x03ben\x04\x02\x03ann\x01", b"\x01\x05\x01\x01x"];
                let events = PresenceList::decode(input.of(&LISTS)).expect("a list of events");
                Frame::Presence { envelope, events }
            }
            Kind::GroupEvent => {
                let event = input.of(GroupEventKind::ALL);
                Frame::GroupEvent { envelope, event, group: input.text(), detail: input.text() }
            }
            _ => unreachable!("{kind:?} has no frame"),
        }
    }

    /// A request with a body that its method may understand.
    fn request(&self, envelope: Envelope<'a>, input: &mut Input<'a>) -> Frame<'a> {
        const BODIES: [&[u8]; 11] = [
            b"",
            b"\0\0",
            b"\x01\0",
            b"\x02\0\x03ann\x03ben",
            b"\x03ann",
            b"\xe8\x03",
            b"\xff",
            b"\x02~g",
            b"\x02~g\0\0",
            b"\x02~g\x03ben",
            b"\x02~g\x01\0t",
        ];
        let ttl_ms = input.number32();
        let method = match input.below(requests::Method::ALL.len() + 1) {
            any if any == requests::Method::ALL.len() => input.byte().into(),
            known => requests::Method::ALL[known] as u16,
        };
        let body = if input.flag() { input.bytes() } else { input.of(&BODIES) };
        let cursor = if input.rarely(3) { input.bytes() } else { b"" };
        Frame::Request { envelope, ttl_ms, method, cursor, body }
    }

    fn envelope(&self, input: &mut Input<'a>) -> Envelope<'a> {
        Envelope::new(address(&self.to, input), address(&self.from, input), self.id(input))
    }

    fn id(&self, input: &mut Input<'a>) -> u64 {
        if !self.ids.is_empty() && input.flag() { input.of(&self.ids) } else { input.number() }
    }

    fn stream(&self, input: &mut Input<'a>) -> u64 {
        if !self.streams.is_empty() && !input.rarely(4) { input.of(&self.streams) } else { input.number() }
    }
}

fn address<'a>(known: &[Address<'a>], input: &mut Input<'a>) -> Address<'a> {
    match input.below(known.len() * 4 + 5) {
        place if place < known.len() * 4 => known[place % known.len()],
        any => match any - known.len() * 4 {
            0 => Address::Server { instance: input.number() },
            1 => Address::User { user: input.text() },
            2 => Address::Device { user: input.text(), device: DeviceKind(input.byte()) },
            3 => Address::Engine {
                user: input.text(),
                device: DeviceKind(input.byte()),
                instance: InstanceId(input.number()),
            },
            _ => Address::Group { group: input.text() },
        },
    }
}

fn status(input: &mut Input<'_>) -> Status {
    match input.below(Failure::ALL.len() + 1) {
        0 => Ok(()),
        failure => Err(Failure::ALL[failure - 1]),
    }
}

fn secret(input: &mut Input<'_>) -> ResumeSecret {
    ResumeSecret([input.byte(); 16])
}

fn login<'a>(input: &mut Input<'a>) -> Login<'a> {
    const KINDS: [CredentialKind; 4] =
        [CredentialKind::None, CredentialKind::Password, CredentialKind::Md5Hex, CredentialKind::Token];
    let bits = input.byte();
    Login {
        instance: InstanceId(input.number()),
        attempt: input.number32(),
        interactive: bits & 1 == 1,
        takes_messages: bits & 2 == 2,
        device: DeviceKind(input.byte()),
        heartbeat_ms: input.number32(),
        login_number: input.number(),
        user: input.text(),
        credential: Credential { kind: input.of(&KINDS), bytes: input.bytes() },
        system_token: input.bytes(),
        ticket: input.bytes(),
        resume: (bits & 4 == 4).then(|| Resume { secret: secret(input), received: input.number32() }),
    }
}

fn login_result<'a>(input: &mut Input<'a>) -> LoginResult<'a> {
    match input.of(LoginCode::ALL) {
        LoginCode::Succeed => LoginResult::Succeed(Welcome {
            mode: if input.flag() { Mode::Resumed } else { Mode::Fresh },
            secret: secret(input),
            received: input.number32(),
            login_number: input.number(),
            server_instance: InstanceId(input.number()),
            rights: Rights::from_bits(input.number32()),
            max_frame: input.number32(),
            window: input.number32(),
            resume_window_ms: input.number32(),
            heartbeat_limit_ms: input.number32(),
            max_blob: input.number(),
            max_user_id: input.byte(),
            server_time_ms: input.number(),
            product: input.text(),
            ticket: input.bytes(),
        }),
        result => LoginResult::Refused { result, cause: input.text() },
    }
}

/// A header; most frames have an empty one.
pub(super) fn header(input: &mut Input<'_>) -> Header {
    match input.byte() {
        0..=127 => Header::default(),
        bits => Header { flags: Flags::from_bits(bits & 0x3D), hop: Hop::from_bits(bits >> 1 & 1) },
    }
}

/// The extensions of a frame.
pub(super) fn extensions<'a>(input: &mut Input<'a>) -> Vec<(u8, &'a [u8])> {
    let mut extensions = Vec::new();
    let mut tag = 0u8;
    while input.rarely(3) && extensions.len() < 4 {
        let Some(next) = tag.checked_add(1 + input.byte() % 4) else { break };
        tag = next;
        extensions.push((tag, input.bytes()));
    }
    extensions
}

/// The bytes of a frame, if it can be said at all.
pub(super) fn encoded<'a>(frame: &Frame<'a>, input: &mut Input<'a>) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    let (header, extensions) = (header(input), extensions(input));
    frame.encode_with(header, &extensions, &mut out).ok()?;
    Some(out)
}

/// Spoils bytes in one of the ways in which frames are spoiled.
pub(super) fn spoiled(mut bytes: BytesMut, input: &mut Input<'_>) -> Bytes {
    let len = bytes.len();
    match input.below(5) {
        0 => bytes[input.below(len)] = input.byte(),
        1 => bytes.truncate(input.below(len)),
        2 => bytes[..4].copy_from_slice(&input.number32().to_le_bytes()),
        3 => bytes[4] = input.byte(),
        _ => {
            let more = input.bytes();
            bytes.extend_from_slice(more);
            // A longer frame, or something behind it.
            if input.flag() {
                let length = u32::try_from(bytes.len() - 4).expect("a short frame");
                bytes[..4].copy_from_slice(&length.to_le_bytes());
            }
        }
    }
    bytes.freeze()
}
