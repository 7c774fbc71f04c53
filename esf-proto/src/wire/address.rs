//! Addresses, and the envelope that opens every routed frame.

use alloc::vec::Vec;

use super::{
    DecodeError, EncodeError, Kind,
    codec::{Measure, Reader, Sink},
};
use crate::ids::{DeviceKind, Engine, InstanceId};

/// Where a routed frame goes, or where it came from. Borrows its name from the frame.
///
/// Layout: u8 form, then what the form says (ESF-014). Names have 1 to 255 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address<'a> {
    /// Form 0, u64 instance: the server. In `to` instance 0 is whichever server runs.
    Server {
        /// One life of the server.
        instance: u64,
    },
    /// Form 1, str8 user: a user, on whichever devices the kind of the frame says.
    User {
        /// The user's name.
        user: &'a str,
    },
    /// Form 2, str8 user, u8 device: one device of a user.
    Device {
        /// The user's name.
        user: &'a str,
        /// The device.
        device: DeviceKind,
    },
    /// Form 3, str8 user, u8 device, u64 instance: one engine.
    Engine {
        /// The user's name.
        user: &'a str,
        /// The device of its login.
        device: DeviceKind,
        /// The engine's life.
        instance: InstanceId,
    },
    /// Form 4, str8 group: the members of a group.
    Group {
        /// The group's id.
        group: &'a str,
    },
}

const SERVER: u8 = 0;
const USER: u8 = 1;
const DEVICE: u8 = 2;
const ENGINE: u8 = 3;
const GROUP: u8 = 4;

impl<'a> Address<'a> {
    /// The address of this engine.
    #[must_use]
    pub fn of_engine(engine: &'a Engine) -> Self {
        Self::Engine { user: &engine.user, device: engine.device, instance: engine.instance }
    }

    /// The name in it, a user's or a group's; the server has none.
    #[must_use]
    pub const fn name(&self) -> Option<&'a str> {
        match *self {
            Self::Group { group } => Some(group),
            _ => self.user(),
        }
    }

    /// The user that it names, if it names one.
    #[must_use]
    pub const fn user(&self) -> Option<&'a str> {
        match *self {
            Self::User { user } | Self::Device { user, .. } | Self::Engine { user, .. } => Some(user),
            Self::Server { .. } | Self::Group { .. } => None,
        }
    }

    /// Whether a frame can come from here, or an answer go here: an engine or the server (ESF-015, ESF-016).
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Server { .. } | Self::Engine { .. })
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            SERVER => Self::Server { instance: reader.u64()? },
            USER => Self::User { user: name(reader)? },
            DEVICE => Self::Device { user: name(reader)?, device: DeviceKind(reader.u8()?) },
            ENGINE => Self::Engine {
                user: name(reader)?,
                device: DeviceKind(reader.u8()?),
                instance: InstanceId(reader.u64()?),
            },
            GROUP => Self::Group { group: name(reader)? },
            _ => return Err(DecodeError::Address),
        })
    }

    #[inline]
    pub(super) fn write(&self, sink: &mut impl Sink) -> Result<(), EncodeError> {
        match *self {
            Self::Server { instance } => {
                sink.u8(SERVER);
                sink.u64(instance);
            }
            Self::User { user } => {
                sink.u8(USER);
                write_name(user, sink)?;
            }
            Self::Device { user, device } => {
                sink.u8(DEVICE);
                write_name(user, sink)?;
                sink.u8(device.0);
            }
            Self::Engine { user, device, instance } => {
                sink.u8(ENGINE);
                write_name(user, sink)?;
                sink.u8(device.0);
                sink.u64(instance.0);
            }
            Self::Group { group } => {
                sink.u8(GROUP);
                write_name(group, sink)?;
            }
        }
        Ok(())
    }
}

/// Who a routed frame is for, who it is from, and its number (ESF-010).
///
/// Layout: `to` address, `from` address, u64 id. `from` is an engine or the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Envelope<'a> {
    /// Where it goes.
    pub to: Address<'a>,
    /// Where it came from.
    pub from: Address<'a>,
    /// The number that its sender gave it, or that it answers; 0 for none.
    pub id: u64,
}

impl<'a> Envelope<'a> {
    /// An envelope of these parts. Whether the addresses are allowed shows when it is encoded.
    #[must_use]
    pub const fn new(to: Address<'a>, from: Address<'a>, id: u64) -> Self {
        Self { to, from, id }
    }

    /// Reads the envelope of a frame of `kind`; `None` is a routed kind that has no number yet.
    pub(super) fn read(reader: &mut Reader<'a>, kind: Option<Kind>) -> Result<Self, DecodeError> {
        let envelope = Self { to: Address::read(reader)?, from: Address::read(reader)?, id: reader.u64()? };
        if envelope.is_allowed(kind) { Ok(envelope) } else { Err(DecodeError::Address) }
    }

    pub(super) fn write(&self, sink: &mut impl Sink, kind: Kind) -> Result<(), EncodeError> {
        if !self.is_allowed(Some(kind)) {
            return Err(EncodeError::Address);
        }
        self.to.write(sink)?;
        self.from.write(sink)?;
        sink.u64(self.id);
        Ok(())
    }

    const fn is_allowed(&self, kind: Option<Kind>) -> bool {
        let to_fits = match kind {
            Some(Kind::Broadcast) => matches!(self.to, Address::Group { .. }),
            Some(kind) if kind.is_answer() => self.to.is_end(),
            _ => true,
        };
        to_fits && self.from.is_end()
    }
}

/// Where a routed frame goes and its number: what of an envelope its carrier needs, without the borrow. The name stays
/// in the frame; [`RawFrame::address`](super::RawFrame::address) reads it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    to: Nameless,
    name_len: u8,
    /// The number that its sender gave it, or that it answers.
    pub id: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nameless {
    Server(u64),
    User,
    Device(DeviceKind),
    Engine(DeviceKind, InstanceId),
    Group,
}

impl Route {
    /// The route of this envelope.
    #[must_use]
    pub fn of(envelope: &Envelope<'_>) -> Self {
        let to = match envelope.to {
            Address::Server { instance } => Nameless::Server(instance),
            Address::User { .. } => Nameless::User,
            Address::Device { device, .. } => Nameless::Device(device),
            Address::Engine { device, instance, .. } => Nameless::Engine(device, instance),
            Address::Group { .. } => Nameless::Group,
        };
        // A name in an address has at most 255 bytes, or it could not have been read.
        let name_len = envelope.to.name().map_or(0, |name| u8::try_from(name.len()).unwrap_or(u8::MAX));
        Self { to, name_len, id: envelope.id }
    }

    /// The address, with its name read from the payload that it was made of.
    pub(super) fn address<'a>(&self, payload: &'a [u8]) -> Option<Address<'a>> {
        // The `to` address opens the payload: its form, the length of the name, the name.
        let name = payload.get(2..2 + usize::from(self.name_len));
        let name = || core::str::from_utf8(name?).ok();
        Some(match self.to {
            Nameless::Server(instance) => Address::Server { instance },
            Nameless::User => Address::User { user: name()? },
            Nameless::Device(device) => Address::Device { user: name()?, device },
            Nameless::Engine(device, instance) => Address::Engine { user: name()?, device, instance },
            Nameless::Group => Address::Group { group: name()? },
        })
    }
}

/// The addresses of the last frame that an engine sent to somebody: those of the next are most often the same bytes, and
/// then there is nothing to read or to check but the id.
#[derive(Debug, Default)]
pub(crate) struct LastRoute {
    addresses: Vec<u8>,
    route: Option<Route>,
    turn: u32,
}

impl LastRoute {
    /// The route of a frame whose payload starts with the same addresses, and what stands behind its envelope.
    pub(crate) fn of<'a>(&self, payload: &'a [u8]) -> Option<(Route, &'a [u8])> {
        let route = self.route?;
        let behind = payload.strip_prefix(self.addresses.as_slice())?;
        let (id, rest) = behind.split_first_chunk()?;
        Some((Route { id: u64::from_le_bytes(*id), ..route }, rest))
    }

    /// Keeps the addresses of a frame with this envelope and payload, which were found good.
    pub(crate) fn keep(&mut self, envelope: &Envelope<'_>, payload: &[u8]) {
        let mut len = Measure(0);
        let measured = envelope.to.write(&mut len).and_then(|()| envelope.from.write(&mut len));
        if let (Ok(()), Some(addresses)) = (measured, payload.get(..len.0)) {
            self.addresses.clear();
            self.addresses.extend_from_slice(addresses);
            self.route = Some(Route::of(envelope));
            self.turn = self.turn.wrapping_add(1);
        }
    }

    /// Counts the addresses that were kept.
    pub(crate) const fn turn(&self) -> u32 {
        self.turn
    }
}

/// A str8 that is not empty.
pub(super) fn name<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let name = reader.str8()?;
    if name.is_empty() { Err(DecodeError::Address) } else { Ok(name) }
}

/// Writes a str8 that is not empty.
pub(super) fn write_name(name: &str, sink: &mut impl Sink) -> Result<(), EncodeError> {
    if name.is_empty() { Err(EncodeError::Address) } else { sink.str8(name) }
}
