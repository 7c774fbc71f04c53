//! What can be wrong with bytes, and with a value that should become bytes.

use crate::close::CloseReason;

/// Why bytes are no frame, or a frame is not what its kind says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the frame, or a field in it, does.
    #[error("the bytes end too early")]
    Truncated,
    /// The length field counts less than the rest of the header.
    #[error("a frame of length {declared} is shorter than its header")]
    Length {
        /// What the length field says.
        declared: u32,
    },
    /// The frame is larger than the limit.
    #[error("a frame of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// Bytes of the whole frame, by its length field.
        size: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The kind has no meaning in this version. The frame can be skipped.
    #[error("unknown kind {0:#04x}")]
    Kind(u8),
    /// The kind has a number but this version does not speak it. The frame can be skipped.
    #[error("kind {0:#04x} is kept for a later version")]
    Unbuilt(u8),
    /// As [`Kind`](Self::Kind) or [`Unbuilt`](Self::Unbuilt), but the frame must not be skipped.
    #[error("kind {0:#04x} must be understood and is not")]
    MustUnderstand(u8),
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// Bytes are left over after a fixed layout.
    #[error("bytes are left over")]
    Trailing,
    /// Extensions are malformed, not in ascending order, or longer than the frame.
    #[error("the extensions are malformed")]
    Extension,
    /// A flag is set that this kind does not allow.
    #[error("a flag is not allowed on this kind")]
    Flag,
    /// An address has an unknown form, an empty name, or a form that is not allowed there.
    #[error("an address is malformed or out of place")]
    Address,
    /// A number is outside its table or its range.
    #[error("a value is out of range")]
    Value,
    /// A login of another version. Nothing after the version was read.
    #[error("version {0} is not spoken here")]
    Version(u16),
    /// The user name of a login is not UTF-8.
    #[error("the user id is not UTF-8")]
    UserId,
}

impl DecodeError {
    /// What a link is closed with for this error.
    ///
    /// A frame whose error [can be skipped](Self::is_skippable) closes nothing; for it this is what a peer that cannot
    /// go on would say.
    #[must_use]
    pub const fn close_reason(&self) -> CloseReason {
        match self {
            Self::TooLarge { .. } => CloseReason::TooLarge,
            Self::UserId => CloseReason::WrongUserId,
            Self::Version(_) => CloseReason::VersionMismatched,
            Self::Kind(_) | Self::Unbuilt(_) | Self::MustUnderstand(_) => CloseReason::Unsupported,
            Self::Truncated
            | Self::Length { .. }
            | Self::Utf8
            | Self::Trailing
            | Self::Extension
            | Self::Flag
            | Self::Address
            | Self::Value => CloseReason::InvalidMessage,
        }
    }

    /// Whether the frame is sound and only its kind is not spoken, so that it can be skipped (ESF-012, ESF-013).
    #[must_use]
    pub const fn is_skippable(&self) -> bool {
        matches!(self, Self::Kind(_) | Self::Unbuilt(_))
    }
}

/// Why a value cannot become a frame. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A text, a byte string or a list is longer than its length field can say, or than its rule allows.
    #[error("a field is too long")]
    TooLong,
    /// Extensions are not in ascending order of their tags.
    #[error("the extensions are not in ascending order")]
    Extension,
    /// A flag is set that this kind does not allow.
    #[error("a flag is not allowed on this kind")]
    Flag,
    /// An address has an empty name or a form that is not allowed there.
    #[error("an address is malformed or out of place")]
    Address,
    /// A value is outside its range.
    #[error("a value is out of range")]
    Value,
}
