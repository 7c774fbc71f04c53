//! Reading and writing the primitives: little-endian integers, texts and byte strings with their length before them.

use alloc::vec::Vec;

use bytes::BytesMut;

use super::{DecodeError, EncodeError};

/// Reads from the front of borrowed bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (front, left) = self.left.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.left = left;
        Ok(*front)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A byte that is 0 or 1.
    pub(super) fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Value),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (front, left) = self.left.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.left = left;
        Ok(front)
    }

    #[inline]
    pub(super) fn bytes8(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    pub(super) fn bytes16(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    #[inline]
    pub(super) fn str8(&mut self) -> Result<&'a str, DecodeError> {
        text(self.bytes8()?)
    }

    pub(super) fn str16(&mut self) -> Result<&'a str, DecodeError> {
        text(self.bytes16()?)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.left)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The layout ends here: nothing may be left.
    pub(super) const fn end(&self) -> Result<(), DecodeError> {
        if self.left.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    core::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)
}

/// Where encoded bytes go. One description of a layout serves to measure it and to write it.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    fn bytes8(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.u8(u8::try_from(bytes.len()).map_err(|_| EncodeError::TooLong)?);
        self.put(bytes);
        Ok(())
    }

    fn bytes16(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.u16(u16::try_from(bytes.len()).map_err(|_| EncodeError::TooLong)?);
        self.put(bytes);
        Ok(())
    }

    fn str8(&mut self, text: &str) -> Result<(), EncodeError> {
        self.bytes8(text.as_bytes())
    }

    fn str16(&mut self, text: &str) -> Result<(), EncodeError> {
        self.bytes16(text.as_bytes())
    }
}

/// Writes into room that was measured before. What does not fit is left out: measuring goes through the same code, so
/// that there is no such thing.
#[derive(Debug)]
pub(super) struct Fill<'a>(pub(super) &'a mut [u8]);

impl<'a> Fill<'a> {
    /// Room for `len` bytes behind what is in `out`.
    pub(super) fn behind(out: &'a mut BytesMut, len: usize) -> Self {
        let start = out.len();
        out.resize(start.saturating_add(len), 0);
        Self(out.get_mut(start..).unwrap_or_default())
    }
}

impl Sink for Fill<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if let Some((front, left)) = core::mem::take(&mut self.0).split_at_mut_checked(bytes.len()) {
            front.copy_from_slice(bytes);
            self.0 = left;
        }
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Measures instead of writing.
#[derive(Debug, Default)]
pub(super) struct Measure(pub(super) usize);

impl Sink for Measure {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }
}
