use futures_util::{FutureExt as _, io::Cursor};

use super::*;

fn read(source: &mut impl BlobSource, offset: u64, most: usize) -> io::Result<Bytes> {
    source.read(offset, most).now_or_never().expect("nothing to wait for")
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

#[test]
fn a_reader_goes_on_and_never_back() {
    let mut source = BlobReader::new(Cursor::new(b"hello world"), None);
    assert_eq!((source.total(), source.can_seek()), (None, false));
    for (offset, most, text) in [(0, 5, "hello"), (5, 1, " "), (6, 100, "world"), (11, 1, "")] {
        assert_eq!(read(&mut source, offset, most).unwrap(), text);
    }
    for offset in [0, 10, 12] {
        assert_eq!(read(&mut source, offset, 1).unwrap_err().kind(), ErrorKind::NotSeekable);
    }
}

#[test]
fn a_seeker_goes_anywhere() {
    let mut reader = Cursor::new(b"hello world".to_vec());
    reader.set_position(3);
    let mut source = BlobSeeker::new(reader, Some(11));
    for (offset, text) in [(0, "hello"), (5, " worl"), (6, "world"), (0, "hello"), (11, "")] {
        assert_eq!(read(&mut source, offset, 5).unwrap(), text);
    }
}
