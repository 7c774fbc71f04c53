//! The names that every adapter with `async` has: it re-exports all of them, so that they are the same everywhere.

pub use bytes::Bytes;
pub use esf_proto::{
    client::State,
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, Engine, InstanceId, MessageId, Source, To, UserId},
    login::{CredentialKind, LoginCode, Mode, Rights},
    server::Config as ServerConfig,
    time::UnixMillis,
};

pub use crate::{
    admission::{Admission, Limits, Network, NetworkError},
    blob::{
        BlobChoice, BlobError, BlobOffer, BlobOptions, BlobProgress, BlobReader, BlobSeeker, BlobSource, BlobStream,
        MAX_BLOB_NAME, SendingBlob,
    },
    client::{
        CallError, Client, ClientBuilder, ClientStats, CloseInfo, Config, ConfigError, ConnectError, Credential,
        Cursor, Device, Ended, Event, Events, MessageOptions, OnlinePage, OnlineUser, Policy, PreQuery, Retry,
        SendError, SendOptions, WeakClient,
    },
    handler::{Context, Handler, HandlerFailed, Handlers},
    http::{ForwardedHeader, Origins},
    runtime::BoxStream,
    server::{
        Accepted, Authenticator, Decision, Lagged, LoginClaim, LoginRequest, Relogin, SHUT_DOWN_GRACE, Server,
        ServerBuilder, ServerEvent, ServerEvents, ServerStats,
    },
};
