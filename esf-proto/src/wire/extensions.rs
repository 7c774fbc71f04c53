//! Skippable facts about a frame that need no new kind.

use core::iter::FusedIterator;

use super::{DecodeError, EncodeError, codec::Reader, codec::Sink};

/// Tag of the sender's time: u64, milliseconds since the Unix epoch.
pub const TAG_SENDER_TIME: u8 = 1;
/// Tag of a trace id: bytes whose meaning the application knows.
pub const TAG_TRACE: u8 = 2;
/// Tag of what a receiver needs to decrypt the body: bytes whose meaning the application knows.
pub const TAG_ENCRYPTION: u8 = 3;
/// Tag of a priority: u8, larger is more urgent.
pub const TAG_PRIORITY: u8 = 4;

/// The extensions of a frame in the order of their tags: pairs of tag and value (ESF-008).
///
/// Layout: u16 bytes of all, then for each u8 tag, u16 length, value.
#[derive(Debug, Clone)]
pub struct Extensions<'a> {
    left: Reader<'a>,
}

impl<'a> Extensions<'a> {
    /// Over a block that [`check`] found sound.
    pub(super) const fn new(block: &'a [u8]) -> Self {
        Self { left: Reader::new(block) }
    }

    /// The value of the extension with this tag.
    #[must_use]
    pub fn value(self, tag: u8) -> Option<&'a [u8]> {
        self.into_iter().find(|(found, _)| *found == tag).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        read_one(&mut self.left).ok()
    }
}

impl FusedIterator for Extensions<'_> {}

/// Whether a block of extensions is sound: whole items in strictly ascending order of their tags.
pub(super) fn check(block: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(block);
    let mut last = None;
    while !reader.is_empty() {
        let (tag, _) = read_one(&mut reader).map_err(|_| DecodeError::Extension)?;
        if last.is_some_and(|last| tag <= last) {
            return Err(DecodeError::Extension);
        }
        last = Some(tag);
    }
    Ok(())
}

/// Writes extensions with the length of all before them.
pub(super) fn write(extensions: &[(u8, &[u8])], sink: &mut impl Sink) -> Result<(), EncodeError> {
    if !extensions.iter().zip(extensions.iter().skip(1)).all(|(one, next)| one.0 < next.0) {
        return Err(EncodeError::Extension);
    }
    let len: usize = extensions.iter().map(|(_, value)| value.len().saturating_add(3)).sum();
    sink.u16(u16::try_from(len).map_err(|_| EncodeError::TooLong)?);
    for (tag, value) in extensions {
        sink.u8(*tag);
        sink.bytes16(value)?;
    }
    Ok(())
}

fn read_one<'a>(reader: &mut Reader<'a>) -> Result<(u8, &'a [u8]), DecodeError> {
    Ok((reader.u8()?, reader.bytes16()?))
}
