//! The methods of `Request` and `Response`, and the bodies of those that are built.
//!
//! A body is decoded in one go, so that a malformed one is refused as a whole; what is in it is then iterated without
//! allocation. The server answers a malformed request body with `Malformed` (ESF-322).

mod groups;

use bytes::BytesMut;

pub use self::groups::{Joining, Member, Members, MembersQuery, MyGroup, MyGroups, OfGroup, OfMember, OfTag};

use super::{
    DecodeError, EncodeError,
    address::{name, write_name},
    codec::{Reader, Sink},
};
use crate::ids::{DeviceKind, InstanceId};

/// The most names in one `IsOnline` request, and the most users in one page of `OnlineUsers`.
pub const MAX_LIST: u16 = 1000;

macro_rules! methods {
    ($($(#[doc = $doc:expr])* $name:ident = $number:literal, $built:literal;)*) => {
        /// What a request asks for; the number is the wire's (PROTOCOL.md, "Request methods").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum Method { $($(#[doc = $doc])* $name = $number,)* }

        impl Method {
            /// Every method that has a number, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The method with this number, if there is one.
            #[must_use]
            pub const fn from_u16(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// Whether this version answers it. The others are answered `Unsupported` (ESF-321).
            #[must_use]
            pub const fn is_built(self) -> bool {
                match self { $(Self::$name => $built,)* }
            }

            /// The name in PROTOCOL.md.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

methods! {
    /// A round trip to the server or to one device of a user. Both bodies are empty.
    Ping = 1, true;
    /// Which of some users are online: [`Users`], [`Online`].
    IsOnline = 2, true;
    /// The devices of the asker's user: an empty request, [`Devices`].
    MyDevices = 3, true;
    /// A page of the users that are online: [`PageQuery`], [`OnlineUsers`]. Needs the right to list.
    OnlineUsers = 4, true;
    /// Kicks a user out: [`Kick`], an empty response. Needs the right to kick.
    Kick = 5, true;
    /// A page of the asker's contacts: a [`PageQuery`], answered by [`Members`].
    Contacts = 16, true;
    /// A page of the asker's contacts that are online: a [`PageQuery`], answered by [`OnlineUsers`].
    OnlineContacts = 17, true;
    /// A page of the members of a group: a [`MembersQuery`], answered by [`Members`]. Needs to be one, or the right to
    /// list.
    GroupMembers = 18, true;
    /// Enters a dynamic group: a [`OfGroup`], answered by [`Joining`].
    GroupJoin = 32, true;
    /// Leaves a dynamic group: a [`OfGroup`], answered by an empty response.
    GroupQuit = 33, true;
    /// Invites somebody into a dynamic group: a [`OfMember`], answered by an empty response.
    GroupInvite = 34, true;
    /// Takes somebody into a dynamic group: a [`OfMember`], answered by an empty response.
    GroupPullIn = 35, true;
    /// Puts somebody out of a dynamic group: a [`OfMember`], answered by an empty response.
    GroupRemove = 36, true;
    /// Changes the tag of a dynamic group: a [`OfTag`], answered by an empty response.
    GroupTag = 37, true;
    /// A page of the groups of the asker: a [`PageQuery`], answered by [`MyGroups`].
    MyGroups = 38, true;
}

/// Takes a body that has nothing in it.
///
/// # Errors
/// There is something in it.
pub const fn decode_empty(body: &[u8]) -> Result<(), DecodeError> {
    Reader::new(body).end()
}

/// The request of `IsOnline`: u16 n, n x str8, n at most [`MAX_LIST`].
#[derive(Debug, Clone)]
pub struct Users<'a> {
    left: u16,
    names: Reader<'a>,
}

impl<'a> Users<'a> {
    /// Appends the request for `users`.
    ///
    /// # Errors
    /// There are more than [`MAX_LIST`], or one of them is no name; `out` is as before.
    pub fn encode(users: &[&str], out: &mut BytesMut) -> Result<(), EncodeError> {
        let count = list_len(users.len())?;
        all_or_nothing(out, |sink| {
            sink.u16(count);
            users.iter().try_for_each(|user| write_name(user, sink))
        })
    }

    /// Reads the request; the names can then be iterated.
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let left = read_list_len(&mut reader)?;
        let names = reader;
        (0..left).try_for_each(|_| name(&mut reader).map(drop))?;
        reader.end()?;
        Ok(Self { left, names })
    }
}

impl<'a> Iterator for Users<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.left = self.left.checked_sub(1)?;
        name(&mut self.names).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Users<'_> {}

/// The response of `IsOnline`: a byte for each name asked for, in the same order, 1 if that user is online, else 0.
#[derive(Debug, Clone)]
pub struct Online<'a> {
    bytes: &'a [u8],
}

impl<'a> Online<'a> {
    /// Appends the response.
    pub fn encode(online: impl IntoIterator<Item = bool>, out: &mut BytesMut) {
        for one in online {
            out.u8(one.into());
        }
    }

    /// Reads the response; the answers can then be iterated. Whoever asked compares their number.
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        if body.iter().all(|byte| *byte <= 1) { Ok(Self { bytes: body }) } else { Err(DecodeError::Value) }
    }
}

impl Iterator for Online<'_> {
    type Item = bool;

    fn next(&mut self) -> Option<bool> {
        let (first, left) = self.bytes.split_first()?;
        self.bytes = left;
        Some(*first == 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.bytes.len(), Some(self.bytes.len()))
    }
}

impl ExactSizeIterator for Online<'_> {}

/// One of the asker's devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceEntry {
    /// The device.
    pub device: DeviceKind,
    /// The engine that is logged in with it.
    pub instance: InstanceId,
    /// Whether it has a link now, or waits within its resume window.
    pub connected: bool,
}

/// The response of `MyDevices`: u8 n, n x (u8 device, u64 instance, u8 connected).
#[derive(Debug, Clone)]
pub struct Devices<'a> {
    left: u8,
    entries: Reader<'a>,
}

impl<'a> Devices<'a> {
    /// Appends the response.
    ///
    /// # Errors
    /// There are more than 255; `out` is as before.
    pub fn encode(entries: &[DeviceEntry], out: &mut BytesMut) -> Result<(), EncodeError> {
        out.u8(u8::try_from(entries.len()).map_err(|_| EncodeError::TooLong)?);
        for entry in entries {
            out.u8(entry.device.0);
            out.u64(entry.instance.0);
            out.u8(entry.connected.into());
        }
        Ok(())
    }

    /// Reads the response; the devices can then be iterated.
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let left = reader.u8()?;
        let entries = reader;
        (0..left).try_for_each(|_| read_device(&mut reader).map(drop))?;
        reader.end()?;
        Ok(Self { left, entries })
    }
}

impl Iterator for Devices<'_> {
    type Item = DeviceEntry;

    fn next(&mut self) -> Option<DeviceEntry> {
        self.left = self.left.checked_sub(1)?;
        read_device(&mut self.entries).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Devices<'_> {}

fn read_device(reader: &mut Reader<'_>) -> Result<DeviceEntry, DecodeError> {
    Ok(DeviceEntry { device: DeviceKind(reader.u8()?), instance: InstanceId(reader.u64()?), connected: reader.bool()? })
}

/// The request of `OnlineUsers` and other lists: u16 limit. The page starts at the request's cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageQuery {
    /// The most entries in the page: 1 to [`MAX_LIST`], or 0 for the server's choice.
    pub limit: u16,
}

impl PageQuery {
    /// Appends the request.
    pub fn encode(self, out: &mut BytesMut) {
        out.u16(self.limit);
    }

    /// Reads the request.
    ///
    /// # Errors
    /// It is malformed, or the limit is over [`MAX_LIST`].
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let limit = reader.u16()?;
        reader.end()?;
        if limit > MAX_LIST { Err(DecodeError::Value) } else { Ok(Self { limit }) }
    }
}

/// A user that is online, and the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnlineUser<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The numbers of the devices.
    devices: &'a [u8],
}

impl<'a> OnlineUser<'a> {
    /// `devices` are the numbers of the device kinds.
    #[must_use]
    pub const fn new(user: &'a str, devices: &'a [u8]) -> Self {
        Self { user, devices }
    }

    /// The devices.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = DeviceKind> + use<'a> {
        self.devices.iter().copied().map(DeviceKind)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { user: name(reader)?, devices: reader.bytes8()? })
    }

    fn write(&self, sink: &mut impl Sink) -> Result<(), EncodeError> {
        write_name(self.user, sink)?;
        sink.bytes8(self.devices)
    }
}

/// The response of `OnlineUsers`: u16 n, n x (str8 user, u8 k, k x u8 device), n at most [`MAX_LIST`].
#[derive(Debug, Clone)]
pub struct OnlineUsers<'a> {
    left: u16,
    users: Reader<'a>,
}

impl<'a> OnlineUsers<'a> {
    /// Appends the response.
    ///
    /// # Errors
    /// There are more than [`MAX_LIST`], one has no name or more than 255 devices; `out` is as before.
    pub fn encode(users: &[OnlineUser<'_>], out: &mut BytesMut) -> Result<(), EncodeError> {
        let count = list_len(users.len())?;
        all_or_nothing(out, |sink| {
            sink.u16(count);
            users.iter().try_for_each(|user| user.write(sink))
        })
    }

    /// Reads the response; the users can then be iterated.
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let left = read_list_len(&mut reader)?;
        let users = reader;
        (0..left).try_for_each(|_| OnlineUser::read(&mut reader).map(drop))?;
        reader.end()?;
        Ok(Self { left, users })
    }
}

impl<'a> Iterator for OnlineUsers<'a> {
    type Item = OnlineUser<'a>;

    fn next(&mut self) -> Option<OnlineUser<'a>> {
        self.left = self.left.checked_sub(1)?;
        OnlineUser::read(&mut self.users).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for OnlineUsers<'_> {}

/// The request of `Kick`: str8 user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kick<'a> {
    /// Who is kicked out.
    pub user: &'a str,
}

impl<'a> Kick<'a> {
    /// Appends the request.
    ///
    /// # Errors
    /// The user is no name; `out` is as before.
    pub fn encode(self, out: &mut BytesMut) -> Result<(), EncodeError> {
        all_or_nothing(out, |sink| write_name(self.user, sink))
    }

    /// Reads the request.
    ///
    /// # Errors
    /// It is malformed.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let user = name(&mut reader)?;
        reader.end()?;
        Ok(Self { user })
    }
}

fn list_len(len: usize) -> Result<u16, EncodeError> {
    u16::try_from(len).ok().filter(|len| *len <= MAX_LIST).ok_or(EncodeError::TooLong)
}

fn read_list_len(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let len = reader.u16()?;
    if len > MAX_LIST { Err(DecodeError::Value) } else { Ok(len) }
}

/// Takes back what `write` has written when it fails half-way.
fn all_or_nothing(
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let before = out.len();
    write(out).inspect_err(|_| out.truncate(before))
}
