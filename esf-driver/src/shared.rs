//! The names that mean the same type to every adapter.

pub use bytes::Bytes;
pub use esf_proto::{
    client::State,
    close::CloseReason,
    failure::Failure,
    ids::{DeviceKind, Engine, GroupId, GroupIdError, InstanceId, MessageId, Source, To, UserId},
    login::{CredentialKind, LoginCode, Mode, Rights},
    server::Config as ServerConfig,
    time::UnixMillis,
};

pub use crate::{
    admission::{Admission, Limits, Network, NetworkError},
    blob::{BlobChoice, BlobError, BlobOffer, BlobOptions, BlobProgress, MAX_BLOB_NAME},
    client::{
        CallError, CertainOptions, ClientStats, CloseInfo, Config, ConfigError, ConnectError, Credential, Cursor,
        Delivered, Device, Ended, Event, GroupChange, GroupPage, Joined, Member, MemberPage, MessageOptions, MyGroup,
        OnlinePage, OnlineUser, Policy, PreQuery, Retry, SendError, SendOptions,
    },
    handler::{Context, HandlerFailed},
    http::{ForwardedHeader, Origins},
    server::{
        Accepted, Decision, Intercepted, InterceptedKind, Judgement, Lagged, LoginClaim, LoginRequest, Recipient,
        Relogin, SHUT_DOWN_GRACE, ServerEvent, ServerStats,
    },
    store::{self, MemoryStore, Store, StoreLimits},
};
