//! Where blobs go that arrive: each into a file of a directory.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use esf_tokio::{BlobChoice, BlobStream, Failure};

use super::{name::safe_name, part::Receiving};
use crate::{
    exit::{Code, Exit},
    progress::Board,
};

/// Takes blobs, if there is a directory for them.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    dir: Option<Arc<Path>>,
    board: Board,
}

/// A blob that is a file now.
#[derive(Debug)]
pub(crate) struct Received {
    /// The sender's name for it: a stranger's.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) file: PathBuf,
}

/// A blob that did not become a file.
#[derive(Debug)]
pub(crate) struct NotReceived {
    pub(crate) name: String,
    pub(crate) why: String,
}

impl Inbox {
    /// Makes the directory if it is missing.
    pub(crate) fn new(dir: Option<&Path>, board: Board) -> Result<Self, Exit> {
        if let Some(dir) = dir {
            std::fs::create_dir_all(dir).map_err(|error| {
                let dir = dir.display();
                let what = "name a directory in which this user may write";
                Exit::new(Code::FileUnusable, format!("`{dir}` cannot take files: {error}; {what}"))
            })?;
        }
        Ok(Self { dir: dir.map(Into::into), board })
    }

    /// What becomes of an offer.
    pub(crate) fn choice(&self) -> BlobChoice {
        if self.dir.is_some() { BlobChoice::Stream } else { BlobChoice::Refuse(Failure::Rejected) }
    }

    /// Receives a blob to its end. Its sender hears that it arrived when the file has its name, and otherwise why not.
    pub(crate) async fn receive(&self, mut stream: BlobStream) -> Result<Received, NotReceived> {
        let name = stream.offer().name.to_string();
        let Some(dir) = &self.dir else {
            stream.refuse(Failure::Rejected);
            return Err(NotReceived { name, why: "there is no directory for it".into() });
        };
        let safe = safe_name(&name);
        let transfer = self.board.begin(&safe, stream.offer().total);
        let mut file = Receiving::start(dir, safe);
        loop {
            match stream.next().await {
                Ok(Some(chunk)) => {
                    if file.write(chunk).await.is_err() {
                        break;
                    }
                    transfer.at(stream.bytes_read());
                }
                Ok(None) => break,
                Err(failure) => return Err(NotReceived { name, why: interruption(failure) }),
            }
        }
        match file.finish().await {
            Ok(file) => {
                let bytes = stream.bytes_read();
                stream.finish();
                Ok(Received { name, bytes, file })
            }
            Err(error) => {
                stream.refuse(failure_of(&error));
                Err(NotReceived { name, why: format!("it cannot be written in `{}`: {error}", dir.display()) })
            }
        }
    }
}

/// What the sender is told when a file cannot be written.
fn failure_of(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Failure::QuotaFull,
        _ => Failure::HandlerFailed,
    }
}

fn interruption(failure: Failure) -> String {
    match failure {
        Failure::Cancelled => "its sender stopped".into(),
        Failure::ConnectionLost => "its sender is gone".into(),
        Failure::TooSlow => "it was not taken fast enough".into(),
        other => other.to_string(),
    }
}
