//! Frames and bytes: the wire of docs/PROTOCOL.md, version 1.
//!
//! A [`RawFrame`] is one whole frame whose header and extensions are checked. It is what is relayed, kept and counted:
//! the very bytes that arrived. [`RawFrame::envelope`] reads who it is for, [`RawFrame::decode`] reads all of it as a
//! [`Frame`]. Both borrow from the frame and allocate nothing. [`Frames`] cuts a WebSocket message into frames,
//! [`Splitter`] a byte stream.
//!
//! ```
//! use esf_proto::wire::{Frame, Frames, Header};
//!
//! let bytes = Frame::Heartbeat { nonce: 7 }.to_bytes(Header::default())?;
//! assert_eq!(bytes[..], [7, 0, 0, 0, 0x07, 0, 0, 7, 0, 0, 0]);
//!
//! let frame = Frames::new(bytes, 1024).next().expect("one frame")?;
//! assert_eq!(frame.decode()?, Frame::Heartbeat { nonce: 7 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing here panics, whatever the bytes are. What is wrong with them is a [`DecodeError`], and
//! [`DecodeError::close_reason`] says what a link is closed with for it.

mod address;
mod codec;
mod error;
mod extensions;
mod flags;
mod frame;
mod kind;
mod login;
mod presence;
mod raw;
pub mod requests;
mod split;
mod stamp;
#[cfg(test)]
mod tests;

pub(crate) use address::LastRoute;
pub use address::{Address, Envelope, Route};
pub use error::{DecodeError, EncodeError};
pub use extensions::{Extensions, TAG_ENCRYPTION, TAG_PRIORITY, TAG_SENDER_TIME, TAG_TRACE};
pub use flags::{Flags, Header, Hop, LoginBits};
pub use frame::Frame;
pub use kind::{Direction, Kind, KindRow};
pub use login::{Credential, Login, LoginResult, MAX_TICKET, Resume, Welcome};
pub use presence::{GroupEventKind, MAX_PRESENCE, PresenceEvent, PresenceList, PresenceStage};
pub use raw::RawFrame;
pub use requests::Method;
pub use split::{Frames, FramesOf, Splitter};
pub(crate) use stamp::Stamp;

/// The version that a login names (ESF-102).
pub const VERSION: u16 = 1;

/// Bytes of a frame before its extensions and payload: length, kind, flags, hop (ESF-001).
pub const HEADER_LEN: usize = 7;

/// The WebSocket sub-protocol (ESF-020).
pub const SUBPROTOCOL: &str = "esf.v1";

/// The largest frame in bytes, its header included, on a link that has not logged in (ESF-002).
pub const PRELOGIN_MAX_FRAME: usize = 8192;
