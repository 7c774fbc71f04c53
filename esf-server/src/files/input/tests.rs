use std::io::Cursor;

use super::*;

/// Gives little at a time, with interruptions.
struct Halting(Cursor<Vec<u8>>, bool);

impl Read for Halting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(ErrorKind::Interrupted.into());
        }
        let most = buffer.len().min(7);
        self.0.read(&mut buffer[..most])
    }
}

#[tokio::test]
async fn a_pipe_is_read_to_its_end_and_never_back() {
    let mut pipe = Pipe::new(|| Ok(Halting(Cursor::new(b"hello world".to_vec()), false)));
    let mut all = Vec::new();
    loop {
        let piece = pipe.read(all.len() as u64, 3).await.unwrap();
        assert!(piece.len() <= 3);
        if piece.is_empty() {
            break;
        }
        all.extend_from_slice(&piece);
    }
    assert_eq!(all, b"hello world");
    assert_eq!(pipe.read(0, 3).await.unwrap_err().kind(), ErrorKind::NotSeekable);
}

#[tokio::test]
async fn a_pipe_that_cannot_be_opened_says_so() {
    let mut pipe = Pipe::new(|| Err::<io::Empty, _>(ErrorKind::PermissionDenied.into()));
    assert_eq!(pipe.read(0, 3).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn nothing_is_read_before_it_is_wanted() {
    let (tell, told) = std::sync::mpsc::channel();
    let pipe = Pipe::new(move || {
        tell.send(()).unwrap();
        Ok(io::empty())
    });
    drop(pipe);
    assert_eq!(told.recv(), Err(std::sync::mpsc::RecvError), "a password may come the same way first");
}

#[test]
fn what_cannot_be_read_has_a_reason_and_what_to_do() {
    for (kind, part) in [
        (ErrorKind::NotFound, "there is no such file; check the path"),
        (ErrorKind::PermissionDenied, "permission denied; make it readable"),
        (ErrorKind::IsADirectory, "is a directory; pack it"),
    ] {
        let exit = unreadable(Path::new("report.pdf"), &kind.into());
        assert!(exit.reason().is_some_and(|reason| reason.contains("`report.pdf`") && reason.contains(part)));
        assert_eq!(exit.code(), Code::FileUnusable);
    }
}
