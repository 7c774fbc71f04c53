//! The names that an adapter of threads has: those of [`names`](crate::names), with calls that block.

#[doc(inline)]
pub use crate::shared::*;

pub use super::{
    Authenticator, BlobFile, BlobReader, BlobSeeker, BlobSource, BlobStream, Callbacks, Client, ClientBuilder, Elapsed,
    Events, Handler, Handlers, Hooks, Interceptor, Listener, SendingBlob, Server, ServerBuilder, ServerEvents, Stream,
    WeakClient,
};
