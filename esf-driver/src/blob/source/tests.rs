use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::*;

fn read(source: &mut impl BlobSource, offset: u64, most: usize) -> io::Result<Bytes> {
    match pin!(source.read(offset, most)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

#[test]
fn bytes_are_read_anywhere_and_end() {
    let mut source = Bytes::from_static(b"hello world");
    assert_eq!((source.total(), source.can_seek()), (Some(11), true));
    assert_eq!(read(&mut source, 0, 5).unwrap(), "hello");
    assert_eq!(read(&mut source, 6, 100).unwrap(), "world");
    assert_eq!(read(&mut source, 0, 1).unwrap(), "h");
    assert!(read(&mut source, 11, 5).unwrap().is_empty());
    assert!(read(&mut source, u64::MAX, usize::MAX).unwrap().is_empty());
}
