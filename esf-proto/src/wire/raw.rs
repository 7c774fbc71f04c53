//! One whole frame as the bytes that arrived.

use core::fmt;

use bytes::{Bytes, BytesMut};

use super::{
    Address, DecodeError, Envelope, Extensions, Flags, Frame, HEADER_LEN, Header, Hop, Kind, Route, TAG_SENDER_TIME,
    codec::Reader, extensions, kind,
};

/// Parts under this size are copied rather than shared when they are kept.
const COPY_BELOW: usize = 1024;

/// One whole frame. Its header and its extensions are sound; its payload is not looked at yet.
///
/// Layout: u32 length of what follows, u8 kind, u8 flags, u8 hop, extensions if the flag says so, payload (ESF-001).
/// Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct RawFrame {
    bytes: Bytes,
    payload_at: u32,
    kind: u8,
    flags: Flags,
    hop: Hop,
}

impl RawFrame {
    /// Takes `bytes` as exactly one frame.
    ///
    /// # Errors
    /// The length is not that of the bytes, the extensions are malformed (ESF-008), or a kind is volatile that must
    /// not be (ESF-006).
    #[inline]
    pub fn parse(bytes: Bytes) -> Result<Self, DecodeError> {
        let Some(declared) = bytes.first_chunk() else { return Err(DecodeError::Truncated) };
        let size = frame_size(u32::from_le_bytes(*declared))?;
        let actual = bytes.len() as u64;
        if actual < size {
            return Err(DecodeError::Truncated);
        } else if actual > size {
            return Err(DecodeError::Trailing);
        }
        let Some(&[.., kind, flags, hop]) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(DecodeError::Truncated);
        };
        let (flags, hop) = (Flags::from_bits(flags), Hop::from_bits(hop));
        if flags.contains(Flags::VOLATILE) && Kind::from_u8(kind).is_some_and(|kind| !kind.may_be_volatile()) {
            return Err(DecodeError::Flag);
        }
        let mut payload_at = 7;
        if flags.contains(Flags::EXTENSIONS) {
            let mut reader = Reader::new(bytes.get(HEADER_LEN..).unwrap_or_default());
            let block = reader.bytes16().map_err(|_| DecodeError::Extension)?;
            extensions::check(block)?;
            // A u16 length: the sum stays far below 2^32.
            payload_at += 2 + u32::try_from(block.len()).map_err(|_| DecodeError::Extension)?;
        }
        Ok(Self { bytes, payload_at, kind, flags, hop })
    }

    /// The number of its kind, known or not.
    #[must_use]
    pub const fn kind_byte(&self) -> u8 {
        self.kind
    }

    /// Its kind, if the kind has a number in this version; it need not be built.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        Kind::from_u8(self.kind)
    }

    /// The immutable flags.
    #[must_use]
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// The flags of this hop.
    #[must_use]
    pub const fn hop(&self) -> Hop {
        self.hop
    }

    /// Flags and hop flags together.
    #[must_use]
    pub const fn header(&self) -> Header {
        Header { flags: self.flags, hop: self.hop }
    }

    /// Bytes of the whole frame.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole frame.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole frame.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// What stands behind header and extensions.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        usize::try_from(self.payload_at).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }

    /// Whether its payload starts with an envelope, by the range of its kind (ESF-010).
    #[must_use]
    pub const fn is_routed(&self) -> bool {
        kind::is_routed(self.kind)
    }

    /// Whether both ends count it (ESF-201).
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        self.is_routed() && !self.is_volatile()
    }

    /// Whether it takes room in the receiver's window (ESF-203).
    #[must_use]
    pub const fn is_windowed(&self) -> bool {
        match self.kind() {
            Some(kind) => kind.is_windowed() && !self.is_volatile(),
            None => false,
        }
    }

    /// Whether it may be dropped where a queue is full (ESF-006).
    #[must_use]
    pub const fn is_volatile(&self) -> bool {
        self.flags.contains(Flags::VOLATILE)
    }

    /// Whether a link is closed on which its kind is not spoken (ESF-011).
    #[must_use]
    pub const fn must_understand(&self) -> bool {
        self.flags.contains(Flags::MUST_UNDERSTAND)
    }

    /// Its extensions, in the order of their tags.
    #[must_use]
    pub fn extensions(&self) -> Extensions<'_> {
        let block = if self.flags.contains(Flags::EXTENSIONS) {
            let mut reader = Reader::new(self.bytes.get(HEADER_LEN..).unwrap_or_default());
            reader.bytes16().unwrap_or_default()
        } else {
            &[]
        };
        Extensions::new(block)
    }

    /// What its author's clock said, in milliseconds since the Unix epoch, if the frame tells.
    #[must_use]
    pub fn sender_time(&self) -> Option<u64> {
        let value = self.extensions().value(TAG_SENDER_TIME)?;
        value.try_into().ok().map(u64::from_le_bytes)
    }

    /// Reads who it is for, who it is from, and its number: all that relaying needs.
    ///
    /// # Errors
    /// The envelope is malformed (ESF-014 to ESF-016), or the kind has none.
    pub fn envelope(&self) -> Result<Envelope<'_>, DecodeError> {
        if !self.is_routed() {
            return Err(DecodeError::Kind(self.kind));
        }
        Envelope::read(&mut Reader::new(self.payload()), self.kind())
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// The kind is not built, or the payload is not exactly what the kind says (ESF-003).
    pub fn decode(&self) -> Result<Frame<'_>, DecodeError> {
        match self.kind() {
            Some(kind) if kind.is_built() => Frame::read(kind, self.payload()),
            _ if self.must_understand() => Err(DecodeError::MustUnderstand(self.kind)),
            Some(_) => Err(DecodeError::Unbuilt(self.kind)),
            None => Err(DecodeError::Kind(self.kind)),
        }
    }

    /// Where the frame goes, by a route that was made of its own envelope; `None` for another frame's.
    #[must_use]
    pub fn address(&self, route: &Route) -> Option<Address<'_>> {
        route.address(self.payload())
    }

    /// A part of this frame as `Bytes`: shared if `part` lies inside the frame, as what it decodes to does, copied
    /// otherwise.
    #[must_use]
    pub fn share(&self, part: &[u8]) -> Bytes {
        let (whole, wanted) = (self.bytes.as_ptr_range(), part.as_ptr_range());
        if whole.start <= wanted.start && wanted.end <= whole.end {
            self.bytes.slice_ref(part)
        } else {
            Bytes::copy_from_slice(part)
        }
    }

    /// A part of this frame to be kept for long: copied if it is under 1 KiB, so that a few bytes never hold a whole
    /// read buffer, otherwise [shared](Self::share).
    #[must_use]
    pub fn keep(&self, part: &[u8]) -> Bytes {
        if part.len() < COPY_BELOW { Bytes::copy_from_slice(part) } else { self.share(part) }
    }

    /// The same frame to be kept for long, as [`keep`](Self::keep) keeps a part.
    #[must_use]
    pub fn kept(&self) -> Self {
        Self { bytes: self.keep(&self.bytes), ..self.clone() }
    }

    /// The same frame with [`Hop::AGAIN`] set, as a copy (ESF-218).
    #[must_use]
    pub fn again(&self) -> Bytes {
        let mut copy = BytesMut::from(&*self.bytes);
        if let Some(hop) = copy.get_mut(HEADER_LEN - 1) {
            *hop = self.hop.with(Hop::AGAIN).bits();
        }
        copy.freeze()
    }
}

/// Leaves the payload out: it is somebody's message or credential.
impl fmt::Debug for RawFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawFrame")
            .field("kind", &format_args!("{:#04x}", self.kind))
            .field("flags", &self.flags)
            .field("hop", &self.hop)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Bytes of a whole frame whose length field says `declared`.
#[inline]
pub(super) fn frame_size(declared: u32) -> Result<u64, DecodeError> {
    if declared < 3 { Err(DecodeError::Length { declared }) } else { Ok(u64::from(declared) + 4) }
}
