//! The frames of `esf_proto::wire` in the JSON of the vectors.

use bytes::BytesMut;
use esf_proto::{
    close::CloseReason,
    failure::{Failure, Status},
    ids::{DeviceKind, InstanceId},
    login::{CredentialKind, LoginCode, Mode, ResumeSecret, Rights},
    wire::{
        self, Address, DecodeError, Envelope, Flags, Frame, GroupEventKind, Header, Hop, LoginResult, PresenceEvent,
        PresenceList, PresenceStage, RawFrame, Welcome as WireWelcome,
    },
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Bytes as hexadecimal digits; blanks between them are skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl Hex {
    /// Reads hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
        Some(Self(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not a string of hexadecimal digits"))
    }
}

/// A 64-bit number as decimal digits: JavaScript's numbers do not hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Long(u64);

impl Serialize for Long {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Long {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A frame with its header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonFrame {
    #[serde(flatten)]
    body: Body,
    #[serde(default, skip_serializing_if = "is_zero")]
    flags: u8,
    #[serde(default, skip_serializing_if = "is_zero")]
    hop: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<Extension>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extension {
    tag: u8,
    value: Hex,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
enum Body {
    Login(Box<Login>),
    LoginResult(Box<LoginAnswer>),
    PreQuery { info_type: u32, body: Hex },
    PreReply { status: u8, body: Hex },
    Close { reason: u8, text: String },
    Count { received: u32, taken: u32 },
    Heartbeat { nonce: u32 },
    HeartbeatAck { nonce: u32 },
    GoAway { retry_after_ms: u32 },
    Credit { stream: Long, offset: Long },
    Fragment { stream: Long, offset: Long, last: bool, data: Hex },
    Send { to: To, from: To, id: Long, info_type: u32, body: Hex },
    Certain { to: To, from: To, id: Long, ttl_ms: u32, info_type: u32, body: Hex },
    Broadcast { to: To, from: To, id: Long, info_type: u32, body: Hex },
    EngineMessage { to: To, from: To, id: Long, info_type: u32, tag: String, body: Hex },
    Query { to: To, from: To, id: Long, ttl_ms: u32, info_type: u32, body: Hex },
    Reply { to: To, from: To, id: Long, body: Hex },
    Ack { to: To, from: To, id: Long },
    Failure { to: To, from: To, id: Long, about: u8, code: u8 },
    Request { to: To, from: To, id: Long, ttl_ms: u32, method: u16, cursor: Hex, body: Hex },
    Response { to: To, from: To, id: Long, status: u8, cursor: Hex, body: Hex },
    BlobOffer { to: To, from: To, id: Long, stream: Long, total: Option<Long>, info_type: u32, name: String },
    BlobEnd { to: To, from: To, id: Long, stream: Long, total: Long },
    Stored { to: To, from: To, id: Long, accepted_at_ms: Long, tries: u8, frame: Hex },
    Confirm { to: To, from: To, id: Long },
    Accepted { to: To, from: To, id: Long },
    BlobCancel { to: To, from: To, id: Long, stream: Long, code: u8 },
    Presence { to: To, from: To, id: Long, events: Events },
    GroupEvent { to: To, from: To, id: Long, event: u8, group: String, detail: String },
}

/// The events of a presence, as the list that they are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Events(Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneEvent {
    event: u8,
    who: To,
}

impl Events {
    fn of(list: PresenceList<'_>) -> Self {
        let mut bytes = Vec::new();
        PresenceList::of(&list.iter().collect::<Vec<_>>(), &mut bytes).expect("what was read");
        Self(bytes)
    }

    fn list(&self) -> PresenceList<'_> {
        PresenceList::decode(&self.0).expect("what was written")
    }
}

impl Serialize for Events {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let one = |event: PresenceEvent<'_>| OneEvent { event: event.stage as u8, who: To::of(event.who) };
        serializer.collect_seq(self.list().iter().map(one))
    }
}

impl<'de> Deserialize<'de> for Events {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let events = Vec::<OneEvent>::deserialize(deserializer)?;
        let stage = |number| PresenceStage::from_u8(number).ok_or_else(|| D::Error::custom("no event of a presence"));
        let (mut bytes, mut list) = (Vec::new(), Vec::new());
        for event in &events {
            list.push(PresenceEvent::new(stage(event.event)?, event.who.address()));
        }
        PresenceList::of(&list, &mut bytes).map_err(D::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// An address; which fields it has says which form it is. The server's is the one without a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<Long>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    instance: Long,
    attempt: u32,
    interactive: bool,
    takes_messages: bool,
    device: u8,
    heartbeat_ms: u32,
    login_number: Long,
    user: String,
    credential_kind: u8,
    credential: Hex,
    system_token: Hex,
    ticket: Hex,
    resume: Option<Resume>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    secret: Hex,
    received: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoginAnswer {
    result: u8,
    cause: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    welcome: Option<Welcome>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Welcome {
    mode: u8,
    secret: Hex,
    received: u32,
    login_number: Long,
    server_instance: Long,
    rights: u32,
    max_frame: u32,
    window: u32,
    resume_window_ms: u32,
    heartbeat_limit_ms: u32,
    max_blob: Long,
    max_user_id: u8,
    server_time_ms: Long,
    product: String,
    ticket: Hex,
}

impl JsonFrame {
    /// What `raw` says.
    ///
    /// # Errors
    /// It is malformed, or not built.
    pub fn decode(raw: &RawFrame) -> Result<Self, DecodeError> {
        let extensions = raw.extensions().map(|(tag, value)| Extension { tag, value: Hex(value.to_vec()) }).collect();
        let body = Body::of(&raw.decode()?);
        Ok(Self { body, flags: raw.flags().bits(), hop: raw.hop().bits(), extensions })
    }

    /// Appends the frame's bytes.
    ///
    /// # Panics
    /// It says what no frame can say.
    pub fn encode(&self, out: &mut BytesMut) {
        let header = Header { flags: Flags::from_bits(self.flags), hop: Hop::from_bits(self.hop) };
        let extensions: Vec<_> = self.extensions.iter().map(|one| (one.tag, &one.value.0[..])).collect();
        self.body.frame().encode_with(header, &extensions, out).unwrap_or_else(|error| panic!("{self:?}: {error}"));
    }
}

impl Body {
    fn of(frame: &Frame<'_>) -> Self {
        let hex = |bytes: &[u8]| Hex(bytes.to_vec());
        let (to, from, id) = match frame.envelope() {
            Some(envelope) => (To::of(envelope.to), To::of(envelope.from), Long(envelope.id)),
            None => (To::SERVER, To::SERVER, Long(0)),
        };
        match *frame {
            Frame::Login(ref login) => Self::Login(Box::new(Login::of(login))),
            Frame::LoginResult(ref result) => Self::LoginResult(Box::new(LoginAnswer::of(result))),
            Frame::PreQuery { info_type, body } => Self::PreQuery { info_type, body: hex(body) },
            Frame::PreReply { status, body } => Self::PreReply { status: number(status), body: hex(body) },
            Frame::Close { reason, text } => Self::Close { reason: reason as u8, text: text.to_owned() },
            Frame::Count { received, taken } => Self::Count { received, taken },
            Frame::Heartbeat { nonce } => Self::Heartbeat { nonce },
            Frame::HeartbeatAck { nonce } => Self::HeartbeatAck { nonce },
            Frame::GoAway { retry_after_ms } => Self::GoAway { retry_after_ms },
            Frame::Credit { stream, offset } => Self::Credit { stream: Long(stream), offset: Long(offset) },
            Frame::Fragment { stream, offset, last, data } => {
                Self::Fragment { stream: Long(stream), offset: Long(offset), last, data: hex(data) }
            }
            Frame::BlobOffer { stream, total, info_type, name, .. } => Self::BlobOffer {
                to,
                from,
                id,
                stream: Long(stream),
                total: total.map(Long),
                info_type,
                name: name.to_owned(),
            },
            Frame::BlobEnd { stream, total, .. } => {
                Self::BlobEnd { to, from, id, stream: Long(stream), total: Long(total) }
            }
            Frame::BlobCancel { stream, code, .. } => {
                Self::BlobCancel { to, from, id, stream: Long(stream), code: code as u8 }
            }
            Frame::Stored { accepted_at_ms, tries, frame, .. } => {
                Self::Stored { to, from, id, accepted_at_ms: Long(accepted_at_ms), tries, frame: hex(frame) }
            }
            Frame::Confirm { .. } => Self::Confirm { to, from, id },
            Frame::Accepted { .. } => Self::Accepted { to, from, id },
            Frame::Presence { events, .. } => Self::Presence { to, from, id, events: Events::of(events) },
            Frame::GroupEvent { event, group, detail, .. } => Self::GroupEvent {
                to,
                from,
                id,
                event: event as u8,
                group: group.to_owned(),
                detail: detail.to_owned(),
            },
            Frame::Send { info_type, body, .. } => Self::Send { to, from, id, info_type, body: hex(body) },
            Frame::Certain { ttl_ms, info_type, body, .. } => {
                Self::Certain { to, from, id, ttl_ms, info_type, body: hex(body) }
            }
            Frame::Broadcast { info_type, body, .. } => Self::Broadcast { to, from, id, info_type, body: hex(body) },
            Frame::EngineMessage { info_type, tag, body, .. } => {
                Self::EngineMessage { to, from, id, info_type, tag: tag.to_owned(), body: hex(body) }
            }
            Frame::Query { ttl_ms, info_type, body, .. } => {
                Self::Query { to, from, id, ttl_ms, info_type, body: hex(body) }
            }
            Frame::Reply { body, .. } => Self::Reply { to, from, id, body: hex(body) },
            Frame::Ack { .. } => Self::Ack { to, from, id },
            Frame::Failure { about, code, .. } => Self::Failure { to, from, id, about, code: code as u8 },
            Frame::Request { ttl_ms, method, cursor, body, .. } => {
                Self::Request { to, from, id, ttl_ms, method, cursor: hex(cursor), body: hex(body) }
            }
            Frame::Response { status, cursor, body, .. } => {
                Self::Response { to, from, id, status: number(status), cursor: hex(cursor), body: hex(body) }
            }
        }
    }

    fn frame(&self) -> Frame<'_> {
        let envelope = |to, from, id: &Long| Envelope::new(To::address(to), To::address(from), id.0);
        match self {
            Self::Login(login) => Frame::Login(login.frame()),
            Self::LoginResult(result) => Frame::LoginResult(result.frame()),
            Self::PreQuery { info_type, body } => Frame::PreQuery { info_type: *info_type, body: &body.0 },
            Self::PreReply { status: number, body } => Frame::PreReply { status: status(*number), body: &body.0 },
            Self::Close { reason, text } => {
                Frame::Close { reason: CloseReason::from_u8(*reason).expect("a close reason"), text }
            }
            Self::Count { received, taken } => Frame::Count { received: *received, taken: *taken },
            Self::Heartbeat { nonce } => Frame::Heartbeat { nonce: *nonce },
            Self::HeartbeatAck { nonce } => Frame::HeartbeatAck { nonce: *nonce },
            Self::GoAway { retry_after_ms } => Frame::GoAway { retry_after_ms: *retry_after_ms },
            Self::Credit { stream, offset } => Frame::Credit { stream: stream.0, offset: offset.0 },
            Self::Fragment { stream, offset, last, data } => {
                Frame::Fragment { stream: stream.0, offset: offset.0, last: *last, data: &data.0 }
            }
            Self::BlobOffer { to, from, id, stream, total, info_type, name } => Frame::BlobOffer {
                envelope: envelope(to, from, id),
                stream: stream.0,
                total: total.as_ref().map(|total| total.0),
                info_type: *info_type,
                name,
            },
            Self::BlobEnd { to, from, id, stream, total } => {
                Frame::BlobEnd { envelope: envelope(to, from, id), stream: stream.0, total: total.0 }
            }
            Self::BlobCancel { to, from, id, stream, code } => Frame::BlobCancel {
                envelope: envelope(to, from, id),
                stream: stream.0,
                code: Failure::from_u8(*code).expect("a failure"),
            },
            Self::Stored { to, from, id, accepted_at_ms, tries, frame } => Frame::Stored {
                envelope: envelope(to, from, id),
                accepted_at_ms: accepted_at_ms.0,
                tries: *tries,
                frame: &frame.0,
            },
            Self::Confirm { to, from, id } => Frame::Confirm { envelope: envelope(to, from, id) },
            Self::Accepted { to, from, id } => Frame::Accepted { envelope: envelope(to, from, id) },
            Self::Presence { to, from, id, events } => {
                Frame::Presence { envelope: envelope(to, from, id), events: events.list() }
            }
            Self::GroupEvent { to, from, id, event, group, detail } => Frame::GroupEvent {
                envelope: envelope(to, from, id),
                event: GroupEventKind::from_u8(*event).expect("an event of a group"),
                group,
                detail,
            },
            Self::Send { to, from, id, info_type, body } => {
                Frame::Send { envelope: envelope(to, from, id), info_type: *info_type, body: &body.0 }
            }
            Self::Certain { to, from, id, ttl_ms, info_type, body } => Frame::Certain {
                envelope: envelope(to, from, id),
                ttl_ms: *ttl_ms,
                info_type: *info_type,
                body: &body.0,
            },
            Self::Broadcast { to, from, id, info_type, body } => {
                Frame::Broadcast { envelope: envelope(to, from, id), info_type: *info_type, body: &body.0 }
            }
            Self::EngineMessage { to, from, id, info_type, tag, body } => {
                Frame::EngineMessage { envelope: envelope(to, from, id), info_type: *info_type, tag, body: &body.0 }
            }
            Self::Query { to, from, id, ttl_ms, info_type, body } => {
                Frame::Query { envelope: envelope(to, from, id), ttl_ms: *ttl_ms, info_type: *info_type, body: &body.0 }
            }
            Self::Reply { to, from, id, body } => Frame::Reply { envelope: envelope(to, from, id), body: &body.0 },
            Self::Ack { to, from, id } => Frame::Ack { envelope: envelope(to, from, id) },
            Self::Failure { to, from, id, about, code } => Frame::Failure {
                envelope: envelope(to, from, id),
                about: *about,
                code: Failure::from_u8(*code).expect("a failure"),
            },
            Self::Request { to, from, id, ttl_ms, method, cursor, body } => Frame::Request {
                envelope: envelope(to, from, id),
                ttl_ms: *ttl_ms,
                method: *method,
                cursor: &cursor.0,
                body: &body.0,
            },
            Self::Response { to, from, id, status: number, cursor, body } => Frame::Response {
                envelope: envelope(to, from, id),
                status: status(*number),
                cursor: &cursor.0,
                body: &body.0,
            },
        }
    }
}

impl To {
    const SERVER: Self = Self { user: None, group: None, device: None, instance: None };

    fn of(address: Address<'_>) -> Self {
        let user = address.user().map(str::to_owned);
        match address {
            Address::Server { instance } => Self { instance: Some(Long(instance)), ..Self::SERVER },
            Address::User { .. } => Self { user, ..Self::SERVER },
            Address::Device { device, .. } => Self { user, device: Some(device.0), ..Self::SERVER },
            Address::Engine { device, instance, .. } => {
                Self { user, device: Some(device.0), instance: Some(Long(instance.0)), ..Self::SERVER }
            }
            Address::Group { group } => Self { group: Some(group.to_owned()), ..Self::SERVER },
        }
    }

    fn address(&self) -> Address<'_> {
        match (self.user.as_deref(), self.group.as_deref(), self.device, self.instance) {
            (None, None, None, Some(Long(instance))) => Address::Server { instance },
            (Some(user), None, None, None) => Address::User { user },
            (Some(user), None, Some(device), None) => Address::Device { user, device: DeviceKind(device) },
            (Some(user), None, Some(device), Some(Long(instance))) => {
                Address::Engine { user, device: DeviceKind(device), instance: InstanceId(instance) }
            }
            (None, Some(group), None, None) => Address::Group { group },
            _ => panic!("{self:?} is no address"),
        }
    }
}

impl Login {
    fn of(login: &wire::Login<'_>) -> Self {
        Self {
            instance: Long(login.instance.0),
            attempt: login.attempt,
            interactive: login.interactive,
            takes_messages: login.takes_messages,
            device: login.device.0,
            heartbeat_ms: login.heartbeat_ms,
            login_number: Long(login.login_number),
            user: login.user.to_owned(),
            credential_kind: login.credential.kind as u8,
            credential: Hex(login.credential.bytes.to_vec()),
            system_token: Hex(login.system_token.to_vec()),
            ticket: Hex(login.ticket.to_vec()),
            resume: login
                .resume
                .map(|resume| Resume { secret: Hex(resume.secret.0.to_vec()), received: resume.received }),
        }
    }

    fn frame(&self) -> wire::Login<'_> {
        let kind = CredentialKind::from_u8(self.credential_kind).expect("a credential kind");
        wire::Login {
            instance: InstanceId(self.instance.0),
            attempt: self.attempt,
            interactive: self.interactive,
            takes_messages: self.takes_messages,
            device: DeviceKind(self.device),
            heartbeat_ms: self.heartbeat_ms,
            login_number: self.login_number.0,
            user: &self.user,
            credential: wire::Credential { kind, bytes: &self.credential.0 },
            system_token: &self.system_token.0,
            ticket: &self.ticket.0,
            resume: self
                .resume
                .as_ref()
                .map(|resume| wire::Resume { secret: secret(&resume.secret), received: resume.received }),
        }
    }
}

impl LoginAnswer {
    fn of(result: &LoginResult<'_>) -> Self {
        let (cause, welcome) = match result {
            LoginResult::Succeed(welcome) => (String::new(), Some(Welcome::of(welcome))),
            LoginResult::Refused { cause, .. } => ((*cause).to_owned(), None),
        };
        Self { result: result.code() as u8, cause, welcome }
    }

    fn frame(&self) -> LoginResult<'_> {
        match &self.welcome {
            Some(welcome) => LoginResult::Succeed(welcome.frame()),
            None => LoginResult::Refused {
                result: LoginCode::from_u8(self.result).expect("a login result"),
                cause: &self.cause,
            },
        }
    }
}

impl Welcome {
    fn of(welcome: &WireWelcome<'_>) -> Self {
        Self {
            mode: welcome.mode as u8,
            secret: Hex(welcome.secret.0.to_vec()),
            received: welcome.received,
            login_number: Long(welcome.login_number),
            server_instance: Long(welcome.server_instance.0),
            rights: welcome.rights.bits(),
            max_frame: welcome.max_frame,
            window: welcome.window,
            resume_window_ms: welcome.resume_window_ms,
            heartbeat_limit_ms: welcome.heartbeat_limit_ms,
            max_blob: Long(welcome.max_blob),
            max_user_id: welcome.max_user_id,
            server_time_ms: Long(welcome.server_time_ms),
            product: welcome.product.to_owned(),
            ticket: Hex(welcome.ticket.to_vec()),
        }
    }

    fn frame(&self) -> WireWelcome<'_> {
        WireWelcome {
            mode: match self.mode {
                0 => Mode::Fresh,
                1 => Mode::Resumed,
                other => panic!("{other} is no mode"),
            },
            secret: secret(&self.secret),
            received: self.received,
            login_number: self.login_number.0,
            server_instance: InstanceId(self.server_instance.0),
            rights: Rights::from_bits(self.rights),
            max_frame: self.max_frame,
            window: self.window,
            resume_window_ms: self.resume_window_ms,
            heartbeat_limit_ms: self.heartbeat_limit_ms,
            max_blob: self.max_blob.0,
            max_user_id: self.max_user_id,
            server_time_ms: self.server_time_ms.0,
            product: &self.product,
            ticket: &self.ticket.0,
        }
    }
}

fn secret(hex: &Hex) -> ResumeSecret {
    ResumeSecret(hex.0.as_slice().try_into().expect("16 bytes"))
}

fn number(status: Status) -> u8 {
    status.map_or_else(|failure| failure as u8, |()| 0)
}

fn status(number: u8) -> Status {
    match number {
        0 => Ok(()),
        number => Err(Failure::from_u8(number).expect("a failure")),
    }
}

fn is_zero(byte: &u8) -> bool {
    *byte == 0
}
