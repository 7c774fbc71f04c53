//! A small server of the library, on each of the runtimes.

use std::{future, net::SocketAddr, thread};

use esf_driver::store::{MemoryStore, Person, Store, StoreAnswer, StoreLimits, StoreRequest, StoreResponse};
use esf_proto::ids::GroupId;

use crate::{
    Problem, load,
    subject::{Library, Runtime},
};

/// Its builder, which has the same names everywhere.
macro_rules! builder {
    ($library:ident, $kind:expr, $answer:expr) => {
        match $kind {
            Library::Plain => $library::server().open(),
            Library::Coalescing => $library::server().open().coalesce(true),
            Library::Grouping => $library::server().open().store(OneGroup),
            Library::Keeping => $library::server().open().store(MemoryStore::open(StoreLimits::default())),
            Library::Answering => $library::server().open().handler($library::Handlers::new().query($answer)),
        }
    };
}

/// Serves without an end, and tells where.
///
/// # Errors
/// It cannot listen.
pub fn run(kind: Library, runtime: Runtime, address: &str, tell: fn(SocketAddr)) -> Result<(), Problem> {
    let listens = |at: Option<SocketAddr>| at.map(tell).ok_or("a server without an address");
    match runtime {
        Runtime::Tokio => tokio::runtime::Runtime::new()?.block_on(async {
            let server = builder!(esf_tokio, kind, |_, _, body| async { Ok(body) }).listen(address).await?;
            listens(server.local_addr())?;
            future::pending().await
        }),
        Runtime::Smol => smol::block_on(async {
            let server = builder!(esf_smol, kind, |_, _, body| async { Ok(body) }).listen(address).await?;
            listens(server.local_addr())?;
            future::pending().await
        }),
        Runtime::Threads => {
            let server = builder!(esf_sync, kind, |_, _, body| Ok(body)).listen(address)?;
            listens(server.local_addr())?;
            loop {
                thread::park();
            }
        }
    }
}

/// Knows one group, of those whose name begins with `m`.
struct OneGroup;

impl Store for OneGroup {
    fn submit(&self, request: StoreRequest, answer: StoreAnswer) {
        let StoreRequest::Person { user, .. } = request else { return answer.refuse() };
        let groups = GroupId::parse(load::GROUP).into_iter().filter(|_| user.starts_with('m')).collect();
        answer.done(StoreResponse::Person(Person { exists: true, groups, ..Person::default() }));
    }
}
