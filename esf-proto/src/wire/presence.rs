//! What `Presence` and `GroupEvent` tell.

use alloc::vec::Vec;

use super::{
    Address, DecodeError, EncodeError,
    codec::{Reader, Sink},
};

/// The most events in one `Presence` (ESF-333).
pub const MAX_PRESENCE: usize = 50;

/// What a [`PresenceEvent`] says of the user or device that it names; the number is the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PresenceStage {
    /// A contact is online.
    ContactOnline = 1,
    /// A contact is offline.
    ContactOffline = 2,
    /// A device of a contact is online.
    ContactDeviceOnline = 3,
    /// A device of a contact is gone.
    ContactDeviceOffline = 4,
    /// Somebody who shares a group is online.
    GroupmateOnline = 5,
    /// Somebody who shared a group is offline.
    GroupmateOffline = 6,
}

impl PresenceStage {
    /// All of them, in the order of their numbers.
    pub const ALL: &'static [Self] = &[
        Self::ContactOnline,
        Self::ContactOffline,
        Self::ContactDeviceOnline,
        Self::ContactDeviceOffline,
        Self::GroupmateOnline,
        Self::GroupmateOffline,
    ];

    /// The one with this number, if there is one.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|stage| *stage as u8 == number)
    }

    /// Whether it stands before the address of a user or, else, before that of a device.
    #[must_use]
    pub const fn is_of_user(self) -> bool {
        !matches!(self, Self::ContactDeviceOnline | Self::ContactDeviceOffline)
    }
}

/// One event of a `Presence`: u8 event, address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceEvent<'a> {
    /// What it says.
    pub stage: PresenceStage,
    /// Of whom: a user or one device, as the stage says.
    pub who: Address<'a>,
}

impl<'a> PresenceEvent<'a> {
    /// What is said of whom.
    #[must_use]
    pub const fn new(stage: PresenceStage, who: Address<'a>) -> Self {
        Self { stage, who }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let stage = PresenceStage::from_u8(reader.u8()?).ok_or(DecodeError::Value)?;
        let event = Self { stage, who: Address::read(reader)? };
        if event.is_sound() { Ok(event) } else { Err(DecodeError::Address) }
    }

    const fn is_sound(&self) -> bool {
        match self.who {
            Address::User { .. } => self.stage.is_of_user(),
            Address::Device { .. } => !self.stage.is_of_user(),
            _ => false,
        }
    }
}

/// The events of a `Presence`, 1 to [`MAX_PRESENCE`] of them: u8 n, n x (u8 event, address).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceList<'a> {
    count: u8,
    bytes: &'a [u8],
}

impl<'a> PresenceList<'a> {
    /// Writes these events into `room`, which is emptied first, as a list.
    ///
    /// # Errors
    /// There are none or too many, or one stands before an address of another form than its own.
    pub fn of(events: &[PresenceEvent<'_>], room: &'a mut Vec<u8>) -> Result<Self, EncodeError> {
        room.clear();
        let count = u8::try_from(events.len()).ok().filter(|_| (1..=MAX_PRESENCE).contains(&events.len()));
        let count = count.ok_or(EncodeError::TooLong)?;
        room.u8(count);
        for event in events {
            if !event.is_sound() {
                return Err(EncodeError::Address);
            }
            room.u8(event.stage as u8);
            event.who.write(room)?;
        }
        Ok(Self { count, bytes: room })
    }

    /// Reads a list.
    ///
    /// # Errors
    /// It is malformed, has no event or too many.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let count = reader.u8()?;
        if count == 0 || usize::from(count) > MAX_PRESENCE {
            return Err(DecodeError::Value);
        }
        (0..count).try_for_each(|_| PresenceEvent::read(&mut reader).map(drop))?;
        reader.end()?;
        Ok(Self { count, bytes })
    }

    /// The events.
    pub fn iter(&self) -> impl Iterator<Item = PresenceEvent<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes.get(1..).unwrap_or_default());
        // They were read once already.
        (0..self.count).map_while(move |_| PresenceEvent::read(&mut reader).ok())
    }

    /// How many there are; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a list is never empty")]
    pub fn len(&self) -> usize {
        self.count.into()
    }

    pub(super) fn write(&self, sink: &mut impl Sink) {
        sink.put(self.bytes);
    }
}

/// What happened in a dynamic group; the number is the wire's (PROTOCOL.md, "Presence and groups").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum GroupEventKind {
    /// A user joined, or was pulled in. The detail is the user.
    Joined = 1,
    /// A user quit, was removed, or went offline. The detail is the user.
    Left = 2,
    /// The receiver is invited. The detail is the user who invites.
    Invited = 3,
    /// The receiver is a member now. The detail is the user who did it.
    PulledIn = 4,
    /// The receiver is a member no more. The detail is the user who did it.
    Removed = 5,
    /// The group has another tag. The detail is the tag.
    Tagged = 6,
}

impl GroupEventKind {
    /// All of them, in the order of their numbers.
    pub const ALL: &'static [Self] =
        &[Self::Joined, Self::Left, Self::Invited, Self::PulledIn, Self::Removed, Self::Tagged];

    /// The one with this number, if there is one.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| *event as u8 == number)
    }
}
