//! Every built frame as a value, to bytes and back.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::{
    DecodeError, EncodeError, Envelope, Flags, GroupEventKind, HEADER_LEN, Header, Kind, Login, LoginResult,
    PresenceList,
    address::{name, write_name},
    codec::{Fill, Measure, Reader, Sink},
    extensions,
};
use crate::{
    close::CloseReason,
    failure::{Failure, Status},
};

/// A frame of a kind that this version speaks. Texts and bodies are borrowed.
///
/// The layouts are those of the payload, in the order of the fields unless it says otherwise (PROTOCOL.md, "Kinds").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Opens a session or resumes one.
    Login(Login<'a>),
    /// Answers a login.
    LoginResult(LoginResult<'a>),
    /// A question before login (ESF-114).
    PreQuery {
        /// The application's number for what it asks.
        info_type: u32,
        /// The question, to the end of the frame.
        body: &'a [u8],
    },
    /// Answers a question before login.
    PreReply {
        /// u8: 0, or the number of a failure.
        status: Status,
        /// The answer, to the end of the frame.
        body: &'a [u8],
    },
    /// The last frame of a link.
    Close {
        /// u8: why.
        reason: CloseReason,
        /// str16: why in words, for people.
        text: &'a str,
    },
    /// What this side has received and taken in the session, both modulo 2^32 (ESF-202, ESF-204).
    Count {
        /// Counted frames that this side holds, in order.
        received: u32,
        /// Bytes of windowed frames that the application has room for.
        taken: u32,
    },
    /// Asks for a sign of life (ESF-402).
    Heartbeat {
        /// Comes back in the answer.
        nonce: u32,
    },
    /// Answers a heartbeat.
    HeartbeatAck {
        /// That of the heartbeat.
        nonce: u32,
    },
    /// Asks the client to leave and come back (ESF-603).
    GoAway {
        /// Milliseconds to wait before that.
        retry_after_ms: u32,
    },
    /// This side holds every byte of the stream below the offset (ESF-341).
    Credit {
        /// Which stream.
        stream: u64,
        /// Bytes from the stream's start.
        offset: u64,
    },
    /// A piece of a stream (ESF-342).
    Fragment {
        /// Which stream.
        stream: u64,
        /// Where the piece begins, in bytes from the stream's start.
        offset: u64,
        /// u8, 0 or 1: whether the stream ends with it.
        last: bool,
        /// The piece, to the end of the frame.
        data: &'a [u8],
    },
    /// A message without confirmation (ESF-302). The id is the sender's own number if the frame has
    /// [`Flags::TELL`], else 0.
    Send {
        /// To whom, from whom.
        envelope: Envelope<'a>,
        /// The application's number for what the message means.
        info_type: u32,
        /// The message, to the end of the frame.
        body: &'a [u8],
    },
    /// A message with exactly one outcome (ESF-306).
    Certain {
        /// To whom, from whom, which.
        envelope: Envelope<'a>,
        /// Milliseconds until the server gives it up.
        ttl_ms: u32,
        /// The application's number for what the message means.
        info_type: u32,
        /// The message, to the end of the frame.
        body: &'a [u8],
    },
    /// A message to a group (ESF-330). The id is as that of `Send`.
    Broadcast {
        /// To which group, from whom.
        envelope: Envelope<'a>,
        /// The application's number for what the message means.
        info_type: u32,
        /// The message, to the end of the frame.
        body: &'a [u8],
    },
    /// A message for the engine's event instead of the handler (ESF-304).
    EngineMessage {
        /// To whom, from whom.
        envelope: Envelope<'a>,
        /// The application's number for what the message means.
        info_type: u32,
        /// str16: the application's word for it.
        tag: &'a str,
        /// The message, to the end of the frame.
        body: &'a [u8],
    },
    /// A question to a handler (ESF-312).
    Query {
        /// To whom, from whom, which.
        envelope: Envelope<'a>,
        /// Milliseconds until the server gives it up.
        ttl_ms: u32,
        /// The application's number for what it asks.
        info_type: u32,
        /// The question, to the end of the frame.
        body: &'a [u8],
    },
    /// Answers the query with the same id.
    Reply {
        /// To the asker.
        envelope: Envelope<'a>,
        /// The answer, to the end of the frame.
        body: &'a [u8],
    },
    /// The receiving engine has the certain message with the same id.
    Ack {
        /// To the sender.
        envelope: Envelope<'a>,
    },
    /// What happened to the frame with the same id.
    Failure {
        /// To its sender.
        envelope: Envelope<'a>,
        /// The number of the kind that failed, known or not.
        about: u8,
        /// u8: why.
        code: Failure,
    },
    /// Asks the server, or a device, for a method (ESF-320).
    Request {
        /// To whom, from whom, which.
        envelope: Envelope<'a>,
        /// Milliseconds until the server gives it up.
        ttl_ms: u32,
        /// The number of the [`Method`](super::Method), known or not.
        method: u16,
        /// bytes16: where the last page ended; empty for the first.
        cursor: &'a [u8],
        /// What the method says, to the end of the frame.
        body: &'a [u8],
    },
    /// Answers the request with the same id.
    Response {
        /// To the asker.
        envelope: Envelope<'a>,
        /// u8: 0, or the number of a failure.
        status: Status,
        /// bytes16: where this page ended; empty for the last.
        cursor: &'a [u8],
        /// What the method says, to the end of the frame.
        body: &'a [u8],
    },
    /// A message from the store (ESF-353). The id is its number there.
    Stored {
        /// To the engine, from the server.
        envelope: Envelope<'a>,
        /// When the store took it: milliseconds since the Unix epoch.
        accepted_at_ms: u64,
        /// How often it was handed out before and not confirmed.
        tries: u8,
        /// The frame as its sender made it, to the end of this one.
        frame: &'a [u8],
    },
    /// From a client: it has handled the stored message with this id. From the server: that is gone from the store
    /// (ESF-354).
    Confirm {
        /// To the server, or from it.
        envelope: Envelope<'a>,
    },
    /// The certain message with the same id is in the store (ESF-331).
    Accepted {
        /// To its sender, from the server.
        envelope: Envelope<'a>,
    },
    /// Announces a blob (ESF-340).
    BlobOffer {
        /// To whom, from whom, which.
        envelope: Envelope<'a>,
        /// The stream that its bytes come in.
        stream: u64,
        /// u8 bits (1: the total is known), u64: how many bytes it has, if that is known.
        total: Option<u64>,
        /// The application's number for what the blob means.
        info_type: u32,
        /// str16: the application's name for it; may be empty.
        name: &'a str,
    },
    /// Every byte of a blob was sent (ESF-343).
    BlobEnd {
        /// As in the offer.
        envelope: Envelope<'a>,
        /// The stream.
        stream: u64,
        /// How many bytes it has.
        total: u64,
    },
    /// A blob ends early (ESF-344).
    BlobCancel {
        /// As in the offer; from the server if it speaks for the sender.
        envelope: Envelope<'a>,
        /// The stream.
        stream: u64,
        /// u8: why.
        code: Failure,
    },
    /// Who came and went (ESF-333).
    Presence {
        /// To the engine, from the server.
        envelope: Envelope<'a>,
        /// u8 n, n x (u8 event, address).
        events: PresenceList<'a>,
    },
    /// What happened in a dynamic group (ESF-336).
    GroupEvent {
        /// From the server.
        envelope: Envelope<'a>,
        /// u8: what.
        event: GroupEventKind,
        /// str8: the group.
        group: &'a str,
        /// str16: a user, or the tag.
        detail: &'a str,
    },
}

impl<'a> Frame<'a> {
    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Login(_) => Kind::Login,
            Self::LoginResult(_) => Kind::LoginResult,
            Self::PreQuery { .. } => Kind::PreQuery,
            Self::PreReply { .. } => Kind::PreReply,
            Self::Close { .. } => Kind::Close,
            Self::Count { .. } => Kind::Count,
            Self::Heartbeat { .. } => Kind::Heartbeat,
            Self::HeartbeatAck { .. } => Kind::HeartbeatAck,
            Self::GoAway { .. } => Kind::GoAway,
            Self::Credit { .. } => Kind::Credit,
            Self::Fragment { .. } => Kind::Fragment,
            Self::Send { .. } => Kind::Send,
            Self::Certain { .. } => Kind::Certain,
            Self::Broadcast { .. } => Kind::Broadcast,
            Self::EngineMessage { .. } => Kind::EngineMessage,
            Self::Query { .. } => Kind::Query,
            Self::Reply { .. } => Kind::Reply,
            Self::Ack { .. } => Kind::Ack,
            Self::Failure { .. } => Kind::Failure,
            Self::Request { .. } => Kind::Request,
            Self::Response { .. } => Kind::Response,
            Self::Stored { .. } => Kind::Stored,
            Self::Confirm { .. } => Kind::Confirm,
            Self::Accepted { .. } => Kind::Accepted,
            Self::BlobOffer { .. } => Kind::BlobOffer,
            Self::BlobEnd { .. } => Kind::BlobEnd,
            Self::BlobCancel { .. } => Kind::BlobCancel,
            Self::Presence { .. } => Kind::Presence,
            Self::GroupEvent { .. } => Kind::GroupEvent,
        }
    }

    /// The envelope, if the kind is routed.
    #[must_use]
    pub const fn envelope(&self) -> Option<&Envelope<'a>> {
        match self {
            Self::Send { envelope, .. }
            | Self::Certain { envelope, .. }
            | Self::Broadcast { envelope, .. }
            | Self::EngineMessage { envelope, .. }
            | Self::Query { envelope, .. }
            | Self::Reply { envelope, .. }
            | Self::Ack { envelope }
            | Self::Failure { envelope, .. }
            | Self::Request { envelope, .. }
            | Self::Response { envelope, .. }
            | Self::Stored { envelope, .. }
            | Self::Confirm { envelope }
            | Self::Accepted { envelope }
            | Self::BlobOffer { envelope, .. }
            | Self::BlobEnd { envelope, .. }
            | Self::BlobCancel { envelope, .. }
            | Self::Presence { envelope, .. }
            | Self::GroupEvent { envelope, .. } => Some(envelope),
            _ => None,
        }
    }

    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// The value is one that no frame can say; `out` is as before.
    pub fn encode(&self, header: Header, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode_with(header, &[], out)
    }

    /// Appends the frame with extensions, in strictly ascending order of their tags, to `out`.
    ///
    /// # Errors
    /// The value is one that no frame can say; `out` is as before.
    pub fn encode_with(
        &self,
        header: Header,
        extensions: &[(u8, &[u8])],
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if !self.may_have(header) {
            return Err(EncodeError::Flag);
        }
        let mut after_length = Measure(HEADER_LEN - 4);
        self.write_after_header(extensions, &mut after_length)?;
        let length = u32::try_from(after_length.0).map_err(|_| EncodeError::TooLong)?;
        let flags = if extensions.is_empty() {
            header.flags.without(Flags::EXTENSIONS)
        } else {
            header.flags.with(Flags::EXTENSIONS)
        };
        // Measuring goes through the same code, so writing cannot fail half-way.
        let room = &mut Fill::behind(out, after_length.0.saturating_add(4));
        write_header(length, self.kind(), Header { flags, hop: header.hop }, room);
        self.write_after_header(extensions, room)
    }

    /// Appends the frame, whose [`Frame::encoded_len`] is `len`, to `out`. The header must be one that it
    /// [may have](Self::may_have).
    pub(crate) fn encode_measured(&self, header: Header, len: usize, out: &mut Vec<u8>) {
        out.reserve(len);
        let length = u32::try_from(len.saturating_sub(4)).unwrap_or(u32::MAX);
        let flags = header.flags.without(Flags::EXTENSIONS);
        write_header(length, self.kind(), Header { flags, hop: header.hop }, out);
        let written = self.write(out);
        debug_assert_eq!(written, Ok(()), "it was measured");
    }

    /// Whether frames of this kind may have these flags.
    pub(crate) const fn may_have(&self, header: Header) -> bool {
        !header.flags.contains(Flags::VOLATILE) || self.kind().may_be_volatile()
    }

    /// Bytes of the whole frame without extensions; `usize::MAX`, which is over every limit, if the value is one that
    /// no frame can say.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let mut whole = Measure(HEADER_LEN);
        match self.write(&mut whole) {
            Ok(()) => whole.0,
            Err(_) => usize::MAX,
        }
    }

    /// The frame as bytes of its own.
    ///
    /// # Errors
    /// The value is one that no frame can say.
    pub fn to_bytes(&self, header: Header) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::new();
        self.encode(header, &mut out)?;
        Ok(out.freeze())
    }

    fn write_after_header(&self, extensions: &[(u8, &[u8])], sink: &mut impl Sink) -> Result<(), EncodeError> {
        if !extensions.is_empty() {
            extensions::write(extensions, sink)?;
        }
        self.write(sink)
    }

    fn write(&self, sink: &mut impl Sink) -> Result<(), EncodeError> {
        if let Some(envelope) = self.envelope() {
            envelope.write(sink, self.kind())?;
        }
        match *self {
            Self::Login(ref login) => login.write(sink)?,
            Self::LoginResult(ref result) => result.write(sink)?,
            Self::PreQuery { info_type, body } => {
                sink.u32(info_type);
                sink.put(body);
            }
            Self::PreReply { status, body } => {
                sink.u8(status_number(status));
                sink.put(body);
            }
            Self::Close { reason, text } => {
                sink.u8(reason as u8);
                sink.str16(text)?;
            }
            Self::Count { received, taken } => {
                sink.u32(received);
                sink.u32(taken);
            }
            Self::Heartbeat { nonce } | Self::HeartbeatAck { nonce } => sink.u32(nonce),
            Self::GoAway { retry_after_ms } => sink.u32(retry_after_ms),
            Self::Credit { stream, offset } => {
                sink.u64(stream);
                sink.u64(offset);
            }
            Self::Fragment { stream, offset, last, data } => {
                sink.u64(stream);
                sink.u64(offset);
                sink.u8(last.into());
                sink.put(data);
            }
            Self::BlobOffer { stream, total, info_type, name, .. } => {
                sink.u64(stream);
                sink.u8(total.is_some().into());
                sink.u64(total.unwrap_or(0));
                sink.u32(info_type);
                sink.str16(name)?;
            }
            Self::BlobEnd { stream, total, .. } => {
                sink.u64(stream);
                sink.u64(total);
            }
            Self::BlobCancel { stream, code, .. } => {
                sink.u64(stream);
                sink.u8(code as u8);
            }
            Self::Send { info_type, body, .. } | Self::Broadcast { info_type, body, .. } => {
                sink.u32(info_type);
                sink.put(body);
            }
            Self::Certain { ttl_ms, info_type, body, .. } | Self::Query { ttl_ms, info_type, body, .. } => {
                sink.u32(ttl_ms);
                sink.u32(info_type);
                sink.put(body);
            }
            Self::EngineMessage { info_type, tag, body, .. } => {
                sink.u32(info_type);
                sink.str16(tag)?;
                sink.put(body);
            }
            Self::Presence { events, .. } => events.write(sink),
            Self::GroupEvent { event, group, detail, .. } => {
                sink.u8(event as u8);
                write_name(group, sink)?;
                sink.str16(detail)?;
            }
            Self::Reply { body, .. } => sink.put(body),
            Self::Ack { .. } | Self::Confirm { .. } | Self::Accepted { .. } => {}
            Self::Stored { accepted_at_ms, tries, frame, .. } => {
                sink.u64(accepted_at_ms);
                sink.u8(tries);
                sink.put(frame);
            }
            Self::Failure { about, code, .. } => {
                sink.u8(about);
                sink.u8(code as u8);
            }
            Self::Request { ttl_ms, method, cursor, body, .. } => {
                sink.u32(ttl_ms);
                sink.u16(method);
                sink.bytes16(cursor)?;
                sink.put(body);
            }
            Self::Response { status, cursor, body, .. } => {
                sink.u8(status_number(status));
                sink.bytes16(cursor)?;
                sink.put(body);
            }
        }
        Ok(())
    }

    /// Reads the payload of a frame of `kind`.
    pub(super) fn read(kind: Kind, payload: &'a [u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(payload);
        let frame = match kind {
            Kind::Login => Self::Login(Login::read(reader)?),
            Kind::LoginResult => Self::LoginResult(LoginResult::read(reader)?),
            Kind::PreQuery => Self::PreQuery { info_type: reader.u32()?, body: reader.rest() },
            Kind::PreReply => Self::PreReply { status: read_status(reader)?, body: reader.rest() },
            Kind::Close => Self::Close {
                reason: CloseReason::from_u8(reader.u8()?).ok_or(DecodeError::Value)?,
                text: reader.str16()?,
            },
            Kind::Count => Self::Count { received: reader.u32()?, taken: reader.u32()? },
            Kind::Heartbeat => Self::Heartbeat { nonce: reader.u32()? },
            Kind::HeartbeatAck => Self::HeartbeatAck { nonce: reader.u32()? },
            Kind::GoAway => Self::GoAway { retry_after_ms: reader.u32()? },
            Kind::Credit => Self::Credit { stream: reader.u64()?, offset: reader.u64()? },
            Kind::Fragment => Self::Fragment {
                stream: reader.u64()?,
                offset: reader.u64()?,
                last: reader.bool()?,
                data: reader.rest(),
            },
            _ => Self::read_routed(kind, reader)?,
        };
        reader.end()?;
        Ok(frame)
    }

    fn read_routed(kind: Kind, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let envelope = Envelope::read(reader, Some(kind))?;
        Ok(match kind {
            Kind::Send => Self::Send { envelope, info_type: reader.u32()?, body: reader.rest() },
            Kind::Broadcast => Self::Broadcast { envelope, info_type: reader.u32()?, body: reader.rest() },
            Kind::Certain => {
                Self::Certain { envelope, ttl_ms: reader.u32()?, info_type: reader.u32()?, body: reader.rest() }
            }
            Kind::EngineMessage => {
                Self::EngineMessage { envelope, info_type: reader.u32()?, tag: reader.str16()?, body: reader.rest() }
            }
            Kind::Query => {
                Self::Query { envelope, ttl_ms: reader.u32()?, info_type: reader.u32()?, body: reader.rest() }
            }
            Kind::Reply => Self::Reply { envelope, body: reader.rest() },
            Kind::Ack => Self::Ack { envelope },
            Kind::Failure => Self::Failure {
                envelope,
                about: reader.u8()?,
                code: Failure::from_u8(reader.u8()?).ok_or(DecodeError::Value)?,
            },
            Kind::Request => Self::Request {
                envelope,
                ttl_ms: reader.u32()?,
                method: reader.u16()?,
                cursor: reader.bytes16()?,
                body: reader.rest(),
            },
            Kind::Response => Self::Response {
                envelope,
                status: read_status(reader)?,
                cursor: reader.bytes16()?,
                body: reader.rest(),
            },
            Kind::Stored => {
                Self::Stored { envelope, accepted_at_ms: reader.u64()?, tries: reader.u8()?, frame: reader.rest() }
            }
            Kind::Confirm => Self::Confirm { envelope },
            Kind::Accepted => Self::Accepted { envelope },
            Kind::BlobOffer => {
                let (stream, bits, total) = (reader.u64()?, reader.u8()?, reader.u64()?);
                let total = (bits & TOTAL_KNOWN != 0).then_some(total);
                Self::BlobOffer { envelope, stream, total, info_type: reader.u32()?, name: reader.str16()? }
            }
            Kind::BlobEnd => Self::BlobEnd { envelope, stream: reader.u64()?, total: reader.u64()? },
            Kind::BlobCancel => Self::BlobCancel {
                envelope,
                stream: reader.u64()?,
                code: Failure::from_u8(reader.u8()?).ok_or(DecodeError::Value)?,
            },
            Kind::Presence => Self::Presence { envelope, events: PresenceList::decode(reader.rest())? },
            Kind::GroupEvent => Self::GroupEvent {
                envelope,
                event: GroupEventKind::from_u8(reader.u8()?).ok_or(DecodeError::Value)?,
                group: name(reader)?,
                detail: reader.str16()?,
            },
            other => return Err(DecodeError::Unbuilt(other as u8)),
        })
    }
}

/// Writes what every frame begins with; `length` is that of all behind the length field.
pub(super) fn write_header(length: u32, kind: Kind, header: Header, sink: &mut impl Sink) {
    sink.u32(length);
    sink.u8(kind as u8);
    sink.u8(header.flags.bits());
    sink.u8(header.hop.bits());
}

/// The bit of an offer that says that it knows its total.
const TOTAL_KNOWN: u8 = 1;

fn status_number(status: Status) -> u8 {
    match status {
        Ok(()) => 0,
        Err(failure) => failure as u8,
    }
}

fn read_status(reader: &mut Reader<'_>) -> Result<Status, DecodeError> {
    match reader.u8()? {
        0 => Ok(Ok(())),
        number => Failure::from_u8(number).map(Err).ok_or(DecodeError::Value),
    }
}
