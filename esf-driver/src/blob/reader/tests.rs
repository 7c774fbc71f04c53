use futures_util::{FutureExt as _, io::Cursor};

use super::*;

fn read(source: &mut impl BlobSource, offset: u64, most: usize) -> io::Result<Bytes> {
    source.read(offset, most).now_or_never().expect("nothing to wait for")
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
