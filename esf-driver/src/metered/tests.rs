use std::io::{Cursor, ErrorKind};

use super::*;

/// Takes `room` bytes, then would block.
struct Narrow {
    room: usize,
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = bytes.len().min(self.room);
        self.room -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn only_bytes_that_passed_are_counted() {
    let mut stream = Metered::new(Narrow { room: 5 });
    assert_eq!(stream.write(b"abc").unwrap(), 3);
    assert_eq!(stream.write(b"def").unwrap(), 2);
    assert_eq!(stream.write(b"f").unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!((stream.bytes_read(), stream.bytes_written()), (0, 5));
}

#[test]
fn reading_counts_what_came_and_the_end_counts_nothing() {
    let mut stream = Metered::new(Cursor::new(b"abcde".to_vec()));
    let mut buffer = [0; 4];
    assert_eq!(stream.read(&mut buffer).unwrap(), 4);
    assert_eq!(stream.read(&mut buffer).unwrap(), 1);
    assert_eq!(stream.read(&mut buffer).unwrap(), 0);
    assert_eq!((stream.bytes_read(), stream.bytes_written()), (5, 0));
}
