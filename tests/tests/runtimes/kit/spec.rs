//! What a scenario says of its clients, its server and its calls.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use bytes::Bytes;
use esf_proto::{
    client::{self, CertainOptions, Credential, MessageOptions, Policy, PreQuery, Retry, SendOptions},
    ids::{DeviceKind, GroupId, To, UserId},
    login::{CredentialKind, Rights},
    server::{self, Accepted, LoginRequest, Relogin},
};
use serde::Deserialize;

use super::{
    keeper::{Keeper, StoreSpec},
    words,
};

/// A server. What is left out is the default of a server that lets everybody in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerSpec {
    /// Whether there is an authenticator at all.
    pub(crate) authenticates: bool,
    /// Those who may log in; everybody if nobody is named.
    pub(crate) users: BTreeMap<String, Account>,
    /// Whether its application handles what comes.
    pub(crate) handles: bool,
    /// Whether it answers a query before login: type 5 by `re: ` and the body, others by `NotFound`.
    pub(crate) pre_query: bool,
    /// Whether each login that succeeds is given a ticket.
    pub(crate) tickets: bool,
    /// What is accepted by somebody else and handed to it, if it does not listen itself.
    pub(crate) elsewhere: Option<Elsewhere>,
    /// Whether frames that are ready at the same time share a WebSocket message.
    pub(crate) coalesce: bool,
    /// Web pages that may connect, beside those of this machine.
    pub(crate) origins: Vec<String>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) handler_limit_ms: Option<u64>,
    /// What its interceptor does with what "mallory" sends; everybody else's passes.
    pub(crate) intercepts: Option<Intercepts>,
    intercept_limit_ms: Option<u64>,
    /// Whether its hooks record what they hear. That somebody of the name "panics" connected is too much for them.
    pub(crate) hooks: bool,
    /// Its store. Contacts or groups give it one, too.
    store: Option<StoreSpec>,
    /// That store, which outlives a restart.
    #[serde(skip)]
    kept: OnceLock<Keeper>,
    store_timeout_ms: Option<u64>,
    /// Pairs who are contacts of each other.
    contacts: Vec<(String, String)>,
    /// Groups and their members.
    groups: BTreeMap<String, Vec<String>>,
    presence_window_ms: Option<u64>,
    max_frame: Option<u32>,
    window: Option<u32>,
    budget: Option<usize>,
    queue: Option<usize>,
    resume_window_ms: Option<u64>,
    login_timeout_ms: Option<u64>,
    liveness_ms: Option<u64>,
    overflow_ms: Option<u64>,
    max_user_id: Option<u8>,
    devices: Option<Vec<u8>>,
    ignore_new: bool,
    exclusive: Vec<Vec<u8>>,
    max_ttl_ms: Option<u64>,
    max_blob: Option<u64>,
    max_commands: Option<usize>,
    max_open: Option<usize>,
    max_open_queries: Option<usize>,
    max_open_query_bytes: Option<usize>,
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self {
            authenticates: true,
            users: BTreeMap::new(),
            handles: true,
            pre_query: false,
            tickets: false,
            elsewhere: None,
            coalesce: false,
            origins: Vec::new(),
            max_connections: None,
            handler_limit_ms: None,
            intercepts: None,
            intercept_limit_ms: None,
            hooks: false,
            store: None,
            kept: OnceLock::new(),
            store_timeout_ms: None,
            contacts: Vec::new(),
            groups: BTreeMap::new(),
            presence_window_ms: None,
            max_frame: None,
            window: None,
            budget: None,
            queue: None,
            resume_window_ms: None,
            login_timeout_ms: None,
            liveness_ms: None,
            overflow_ms: None,
            max_user_id: None,
            devices: None,
            ignore_new: false,
            exclusive: Vec::new(),
            max_ttl_ms: None,
            max_blob: None,
            max_commands: None,
            max_open: None,
            max_open_queries: None,
            max_open_query_bytes: None,
        }
    }
}

/// What an interceptor does.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Intercepts {
    Passes,
    Refuses,
    Panics,
    Never,
}

/// A connection that is handed over: as it was accepted, or with its WebSocket open.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Elsewhere {
    Stream,
    Websocket,
}

/// Somebody who may log in, or about whom something else is decided.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Account {
    password: String,
    /// What the login's system token has to be.
    token: String,
    rights: Vec<Right>,
    /// Of the password.
    version: u64,
    decision: Choice,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Right {
    Kick,
    List,
    Groups,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Choice {
    #[default]
    Password,
    Never,
    Panics,
    Later,
    /// Later for the first, yes for whoever comes back.
    Second,
    /// The password is good for a person; what comes back by itself shows a ticket.
    Ticket,
}

/// What an authenticator says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept(Accepted),
    Refuse(&'static str),
    Later,
    Never,
    Panics,
}

impl ServerSpec {
    /// The settings that the scenario names, put into those of a server.
    pub(crate) fn configure(&self, config: &mut server::Config) {
        set(&mut config.intercept_limit, self.intercept_limit_ms.map(Duration::from_millis));
        set(&mut config.store_timeout, self.store_timeout_ms.map(Duration::from_millis));
        set(&mut config.presence_window, self.presence_window_ms.map(Duration::from_millis));
        set(&mut config.max_frame, self.max_frame);
        set(&mut config.window, self.window);
        set(&mut config.budget, self.budget);
        set(&mut config.queue, self.queue);
        set(&mut config.resume_window, self.resume_window_ms.map(Duration::from_millis));
        set(&mut config.login_timeout, self.login_timeout_ms.map(Duration::from_millis));
        set(&mut config.liveness, self.liveness_ms.map(Duration::from_millis));
        set(&mut config.overflow, self.overflow_ms.map(Duration::from_millis));
        set(&mut config.max_user_id, self.max_user_id);
        set(&mut config.devices, self.devices.as_ref().map(|kinds| devices(kinds)));
        set(&mut config.relogin, self.ignore_new.then_some(Relogin::IgnoreNew));
        config.exclusive = self.exclusive.iter().map(|kinds| devices(kinds)).collect();
        set(&mut config.max_ttl, self.max_ttl_ms.map(Duration::from_millis));
        set(&mut config.max_blob, self.max_blob);
        set(&mut config.max_commands, self.max_commands);
        set(&mut config.max_open, self.max_open);
        set(&mut config.max_open_queries, self.max_open_queries);
        set(&mut config.max_open_query_bytes, self.max_open_query_bytes);
    }

    /// Its store, the same each time.
    pub(crate) fn store(&self) -> Option<Keeper> {
        let wanted = self.store.is_some() || !self.contacts.is_empty() || !self.groups.is_empty();
        wanted.then(|| self.kept.get_or_init(|| self.fill()).clone())
    }

    /// A store of those that it names.
    fn fill(&self) -> Keeper {
        let keeper = self.store.clone().unwrap_or_default().open();
        let store = &keeper.memory;
        for (one, other) in &self.contacts {
            store.add_contact(&user(one), &user(other));
        }
        for (id, members) in &self.groups {
            store.create_group(&group(id));
            for member in members {
                store.add_member(&group(id), &user(member));
            }
        }
        keeper
    }

    /// Whether somebody may log in, with so many logins judged before.
    pub(crate) fn judge(&self, login: &LoginRequest, before: usize) -> Verdict {
        if self.users.is_empty() {
            return Account::default().accept();
        }
        let Some(account) = self.users.get(login.user.as_str()) else { return WRONG };
        let proven = account.password.as_bytes() == login.credential && account.token.as_bytes() == login.system_token;
        match account.decision {
            Choice::Never => Verdict::Never,
            Choice::Panics => Verdict::Panics,
            Choice::Later => Verdict::Later,
            Choice::Second if before == 0 => Verdict::Later,
            Choice::Ticket if !login.interactive => {
                if self.tickets && login.ticket == self.ticket(&login.user) {
                    account.accept()
                } else {
                    WRONG
                }
            }
            Choice::Second => account.accept(),
            Choice::Password | Choice::Ticket if proven => account.accept(),
            Choice::Password | Choice::Ticket => WRONG,
        }
    }

    /// What is good for a password at the next login.
    pub(crate) fn ticket(&self, user: &UserId) -> Bytes {
        if self.tickets { format!("ticket of {user}").into() } else { Bytes::new() }
    }
}

/// The same for somebody unknown and for a wrong password.
const WRONG: Verdict = Verdict::Refuse("wrong name or password");

impl Account {
    fn accept(&self) -> Verdict {
        let rights = self.rights.iter().fold(Rights::NONE, |rights, right| {
            rights.with(match right {
                Right::Kick => Rights::KICK,
                Right::List => Rights::LIST,
                Right::Groups => Rights::GROUPS,
            })
        });
        Verdict::Accept(Accepted { rights, credential_version: self.version, login_number: None })
    }
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

fn devices(kinds: &[u8]) -> Vec<DeviceKind> {
    kinds.iter().copied().map(DeviceKind).collect()
}

/// A client. It comes back at once after a cut, so that no scenario waits for it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClientSpec {
    pub(crate) user: String,
    pub(crate) device: u8,
    pub(crate) password: Option<String>,
    pub(crate) token: String,
    pub(crate) takes_messages: bool,
    pub(crate) reconnect: bool,
    pub(crate) pre_query: Option<(u32, String)>,
    pub(crate) budget: Option<usize>,
    pub(crate) queue: Option<usize>,
    pub(crate) heartbeat_ms: Option<u64>,
    /// Whether it handles what comes.
    pub(crate) handles: bool,
    /// Whether nobody waits for its login.
    pub(crate) start: bool,
    /// Whether it waits for a server that cannot be reached.
    pub(crate) patient: bool,
    /// When nobody wants it any more if it is not logged in.
    pub(crate) give_up_ms: Option<u64>,
    /// Whether frames that are ready at the same time share a WebSocket message.
    pub(crate) coalesce: bool,
    /// Whether the connection is made by the application.
    pub(crate) elsewhere: bool,
    pub(crate) origin: Option<String>,
}

impl Default for ClientSpec {
    fn default() -> Self {
        Self {
            user: String::new(),
            device: 0,
            password: None,
            token: String::new(),
            takes_messages: true,
            reconnect: true,
            pre_query: None,
            budget: None,
            queue: None,
            heartbeat_ms: None,
            handles: true,
            start: false,
            patient: false,
            give_up_ms: None,
            coalesce: false,
            elsewhere: false,
            origin: None,
        }
    }
}

impl ClientSpec {
    pub(crate) fn config(&self) -> client::Config {
        let mut config = client::Config::new(user(&self.user));
        config.device = DeviceKind(self.device);
        if let Some(password) = &self.password {
            config.credential = Credential { kind: CredentialKind::Password, bytes: password.clone().into() };
        }
        config.system_token = self.token.clone().into();
        config.takes_messages = self.takes_messages;
        config.reconnect = self.reconnect;
        let ask = |(info_type, body): (u32, String)| PreQuery { info_type, body: body.into() };
        config.pre_query = self.pre_query.clone().map(ask);
        set(&mut config.budget, self.budget);
        set(&mut config.queue, self.queue);
        set(&mut config.heartbeat, self.heartbeat_ms.map(Duration::from_millis));
        let soon = Duration::from_millis(40);
        config.retry = Retry { base: Duration::from_millis(5), cap_resume: soon, cap: soon };
        config
    }
}

/// A body: text, or so many bytes of noise.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Body {
    Text(String),
    Noise(Noise),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noise {
    noise: usize,
}

impl Default for Body {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl From<&Body> for Bytes {
    fn from(body: &Body) -> Self {
        match body {
            Body::Text(text) => Self::copy_from_slice(text.as_bytes()),
            Body::Noise(noise) => words::noise(noise.noise).into(),
        }
    }
}

/// A target: nobody for the server's application, a user, or one of a user's devices.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum Target {
    #[default]
    Server,
    User(String),
    Device {
        user: String,
        device: u8,
    },
}

impl From<&Target> for To {
    fn from(target: &Target) -> Self {
        match target {
            Target::Server => Self::Server,
            Target::User(name) => Self::User(user(name)),
            Target::Device { user: name, device } => Self::Device(user(name), DeviceKind(*device)),
        }
    }
}

pub(crate) fn group(id: &str) -> GroupId {
    GroupId::parse(id).expect("a group's id")
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name, 255).expect("a user name")
}

/// What an application asks of its client or server.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Call {
    /// A plain message.
    Send(Plain),
    /// An engine's message, with a tag.
    Message(Tagged),
    /// A message that is confirmed.
    Certain(Message),
    /// One that the server keeps for whoever is offline.
    Store(Message),
    /// A question.
    Query(Message),
    /// A large body, in fragments.
    Blob(Blob),
    Ping {
        #[serde(default)]
        to: Target,
    },
    IsOnline {
        users: Vec<String>,
    },
    MyDevices,
    OnlineUsers,
    Kick {
        user: String,
    },
    Settled {
        /// When nobody waits for it any more.
        give_up_ms: Option<u64>,
    },
    /// A message to a group.
    Broadcast(ToGroup),
    /// A page of the contacts of a user.
    Contacts,
    OnlineContacts,
    /// The same by their older names.
    Friends,
    OnlineFriends,
    Members {
        group: String,
    },
    MyGroups,
    /// Enters a dynamic group.
    Join {
        group: String,
    },
    Quit {
        group: String,
    },
    Invite {
        group: String,
        user: String,
    },
    PullIn {
        group: String,
        user: String,
    },
    Remove {
        group: String,
        user: String,
    },
    Tag {
        group: String,
        tag: String,
    },
    LogOff,
    Close,
    Closed {
        give_up_ms: Option<u64>,
    },
    /// Of a server: ends what a credential of an older version than `below` opened.
    Revoke {
        user: String,
        below: u64,
    },
    /// Of a server: ends within so many milliseconds.
    ShutDown {
        grace_ms: u64,
    },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    #[serde(default)]
    pub(crate) to: Target,
    #[serde(default, rename = "type")]
    pub(crate) info_type: u32,
    #[serde(default)]
    pub(crate) body: Body,
    pub(crate) within_ms: Option<u64>,
}

impl Message {
    pub(crate) fn within(&self) -> Option<Duration> {
        self.within_ms.map(Duration::from_millis)
    }

    pub(crate) fn storable(&self) -> CertainOptions {
        CertainOptions { ttl: self.within(), store_if_offline: true }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plain {
    #[serde(default)]
    pub(crate) to: Target,
    #[serde(default, rename = "type")]
    pub(crate) info_type: u32,
    #[serde(default)]
    pub(crate) body: Body,
    #[serde(default)]
    discard: bool,
    tell: Option<u64>,
}

impl Plain {
    pub(crate) fn options(&self) -> SendOptions {
        SendOptions { policy: policy(self.discard), tell: self.tell }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tagged {
    #[serde(default)]
    pub(crate) to: Target,
    #[serde(default, rename = "type")]
    pub(crate) info_type: u32,
    #[serde(default)]
    pub(crate) body: Body,
    pub(crate) tag: String,
    #[serde(default)]
    echo: bool,
    tell: Option<u64>,
}

impl Tagged {
    pub(crate) fn options(&self) -> MessageOptions {
        MessageOptions { policy: Policy::Queue, echo: self.echo, tell: self.tell }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToGroup {
    pub(crate) group: String,
    #[serde(default, rename = "type")]
    pub(crate) info_type: u32,
    #[serde(default)]
    pub(crate) body: Body,
    #[serde(default)]
    echo: bool,
    tell: Option<u64>,
}

impl ToGroup {
    pub(crate) fn options(&self) -> MessageOptions {
        MessageOptions { policy: Policy::Queue, echo: self.echo, tell: self.tell }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Blob {
    #[serde(default)]
    pub(crate) to: Target,
    /// It goes to this group instead.
    pub(crate) group: Option<String>,
    #[serde(default, rename = "type")]
    pub(crate) info_type: u32,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) body: Body,
    /// Stops once the receiver holds something.
    #[serde(default)]
    pub(crate) cancel: bool,
    /// Read from a file.
    #[serde(default)]
    pub(crate) file: bool,
    /// When nobody waits for its outcome any more.
    pub(crate) give_up_ms: Option<u64>,
}

fn policy(discard: bool) -> Policy {
    if discard { Policy::Discard } else { Policy::Queue }
}
