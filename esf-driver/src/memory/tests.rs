use std::sync::Arc;

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::testing::{Flag, Virtual};

#[test]
fn bytes_pass_in_both_directions_and_a_drop_is_the_end() {
    let runtime = Virtual::new();
    let (mut a, mut b) = duplex(16);
    runtime.block_on(async {
        a.write_all(b"ping").await.unwrap();
        let mut buffer = [0; 4];
        b.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"ping");
        b.write_all(b"pong!").await.unwrap();
        drop(b);
        let mut rest = Vec::new();
        a.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"pong!", "what was written before the end still comes");
        assert_eq!(a.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_full_pipe_waits_for_its_reader() {
    let (mut a, mut b) = duplex(4);
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let cx = &mut Context::from_waker(&waker);
    assert!(matches!(Pin::new(&mut a).poll_write(cx, b"abcdef"), Poll::Ready(Ok(4))));
    assert!(Pin::new(&mut a).poll_write(cx, b"ef").is_pending());
    assert!(!flag.take());
    let mut buffer = [0; 3];
    assert!(matches!(Pin::new(&mut b).poll_read(cx, &mut buffer), Poll::Ready(Ok(3))));
    assert!(flag.take(), "the writer is woken");
    assert!(matches!(Pin::new(&mut a).poll_write(cx, b"ef"), Poll::Ready(Ok(2))));
}
