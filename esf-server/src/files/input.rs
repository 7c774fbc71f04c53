//! What is sent: a file, a pipe, standard input.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    path::Path,
};

use esf_tokio::{BlobFile, BlobSource, Bytes};
use tokio::sync::mpsc;

use crate::exit::{Code, Exit};

/// Stands for standard input.
const STDIN: &str = "-";
/// What is read of a pipe at once.
const PIECE: usize = 64 * 1024;

/// Something to send, with the name that its receiver is told.
pub(crate) struct Input {
    /// Empty for standard input.
    pub(crate) name: String,
    pub(crate) source: Source,
}

pub(crate) enum Source {
    File(BlobFile),
    Pipe(Pipe),
}

impl Input {
    /// Opens what was named on the command line.
    pub(crate) async fn open(path: &Path) -> Result<Self, Exit> {
        if path.as_os_str() == STDIN {
            let source = Source::Pipe(Pipe::new(|| Ok(io::stdin())));
            return Ok(Self { name: String::new(), source });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = match BlobFile::open(path).await {
            Ok(file) => Source::File(file),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                let path = path.to_owned();
                Source::Pipe(Pipe::new(move || File::open(path)))
            }
            Err(error) => return Err(unreadable(path, &error)),
        };
        Ok(Self { name, source })
    }

    /// Whether it is known to have nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.source.total() == Some(0)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Exit {
    let path = path.display();
    let reason = match error.kind() {
        ErrorKind::IsADirectory => {
            format!("`{path}` is a directory; pack it, as in `tar -c {path} | esf blob … --name {path}.tar -`")
        }
        ErrorKind::NotFound => format!("`{path}` cannot be sent: there is no such file; check the path"),
        ErrorKind::PermissionDenied => {
            format!("`{path}` cannot be sent: permission denied; make it readable for this user")
        }
        _ => format!("`{path}` cannot be sent: {error}"),
    };
    Exit::new(Code::FileUnusable, reason)
}

impl BlobSource for Source {
    fn total(&self) -> Option<u64> {
        match self {
            Self::File(file) => file.total(),
            Self::Pipe(_) => None,
        }
    }

    fn can_seek(&self) -> bool {
        match self {
            Self::File(file) => file.can_seek(),
            Self::Pipe(_) => false,
        }
    }

    async fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        match self {
            Self::File(file) => file.read(offset, most).await,
            Self::Pipe(pipe) => pipe.read(offset, most).await,
        }
    }
}

/// What is read once, by a thread, since a terminal cannot be waited for otherwise; the thread ends with the process.
pub(crate) struct Pipe {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// The thread's work, until the first byte is wanted: before that, a password may come the same way.
    start: Option<Box<dyn FnOnce() + Send>>,
    /// What is left of the last piece.
    rest: Bytes,
    position: u64,
}

impl Pipe {
    fn new<R: Read>(open: impl FnOnce() -> io::Result<R> + Send + 'static) -> Self {
        let (tell, pieces) = mpsc::channel(1);
        let read = move || match open() {
            Ok(input) => read_all(input, &tell),
            Err(error) => drop(tell.blocking_send(Err(error))),
        };
        Self { pieces, start: Some(Box::new(read)), rest: Bytes::new(), position: 0 }
    }

    async fn read(&mut self, offset: u64, most: usize) -> io::Result<Bytes> {
        if let Some(start) = self.start.take() {
            std::thread::Builder::new().name("read".into()).spawn(start)?;
        }
        if offset != self.position {
            return Err(ErrorKind::NotSeekable.into());
        }
        if self.rest.is_empty() {
            self.rest = self.pieces.recv().await.transpose()?.unwrap_or_default();
        }
        let piece = self.rest.split_to(most.min(self.rest.len()));
        self.position += piece.len() as u64;
        Ok(piece)
    }
}

/// Until its end, an error, or until nobody wants more.
fn read_all(mut input: impl Read, tell: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut buffer = vec![0; PIECE];
        let piece = match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                buffer.truncate(count);
                Ok(buffer.into())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = piece.is_err();
        if tell.blocking_send(piece).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
