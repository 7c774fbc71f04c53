use super::*;

/// Takes so many bytes, then none for once.
struct Sip {
    taken: Vec<u8>,
    room: usize,
}

impl Write for Sip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        if count == 0 {
            self.room = 3;
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= count;
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_goes_before_a_flush_and_everything_goes_once_in_order() {
    let mut buffered = Buffered::new(Sip { taken: Vec::new(), room: 3 });
    buffered.write_all(b"abcd").unwrap();
    buffered.write_all(b"efg").unwrap();
    assert_eq!((buffered.waiting(), buffered.get_ref().taken.len()), (7, 0));
    assert_eq!(buffered.flush().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(buffered.waiting(), 4);
    buffered.write_all(b"h").unwrap();
    while buffered.flush().is_err() {}
    assert_eq!(buffered.get_ref().taken, b"abcdefgh");
    assert_eq!(buffered.waiting(), 0);
}

#[test]
fn what_waits_is_kept_at_rest() {
    let mut buffered = Buffered::new(Sip { taken: Vec::new(), room: 9 });
    buffered.write_all(b"a").unwrap();
    buffered.rest();
    assert_eq!(buffered.waiting(), 1);
    buffered.flush().unwrap();
    assert!(buffered.is_awake());
    buffered.rest();
    assert!(!buffered.is_awake());
}
