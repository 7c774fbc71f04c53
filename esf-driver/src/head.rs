//! Reads the head of an HTTP message from an asynchronous stream.

use std::io::{self, ErrorKind};

use futures_util::AsyncReadExt as _;

use crate::{
    http::{HeadEnd, MAX_HEAD},
    runtime::BoxStream,
};

/// What came of reading a head.
pub(crate) enum Head {
    /// The head, and what came behind it at once.
    Whole { head: Vec<u8>, rest: Vec<u8> },
    /// More than [`MAX_HEAD`] without an end.
    TooLarge,
    /// The first bytes are none of such a message.
    Hopeless,
}

/// Reads until the head is whole. `hopeful` looks at the first bytes, so that somebody who speaks something else hears of
/// it at once and not when the time is over.
pub(crate) async fn read_head(stream: &mut BoxStream, hopeful: fn(&[u8]) -> bool) -> io::Result<Head> {
    let (mut came, mut end) = (Vec::new(), HeadEnd::default());
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        came.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if !hopeful(&came) {
            return Ok(Head::Hopeless);
        }
        match end.find(&came) {
            Some(len) if len <= MAX_HEAD => {
                let rest = came.split_off(len);
                return Ok(Head::Whole { head: came, rest });
            }
            None if came.len() <= MAX_HEAD => {}
            _ => return Ok(Head::TooLarge),
        }
    }
}
