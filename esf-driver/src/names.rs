//! The names that every adapter with `async` has: it re-exports all of them, so that they are the same everywhere. Those
//! of [`blocking::names`](crate::blocking::names) are the same names for the same things.

#[doc(inline)]
pub use crate::shared::*;

pub use crate::{
    blob::{BlobReader, BlobSeeker, BlobSource, BlobStream, SendingBlob},
    client::{Client, ClientBuilder, Events, WeakClient},
    handler::{Handler, Handlers},
    runtime::BoxStream,
    server::{Authenticator, Hooks, Interceptor, Server, ServerBuilder, ServerEvents},
    store::Callbacks,
};
