//! Outcomes, events and looks as the scenarios write them. An enum is written by the name of its variant.

use std::fmt::Debug;

use esf_driver::{
    blob::BlobError,
    blocking::Elapsed,
    client::{
        CallError, ConnectError, Ended, Event, GroupChange, GroupPage, Member, MemberPage, OnlinePage, SendError,
    },
    server::{Lagged, ServerEvent},
};
use esf_proto::{
    failure::Failure,
    ids::{Source, To},
    login::Rights,
};
use serde_json::{Value, json};

/// The name of a variant.
pub(crate) fn name(of: impl Debug) -> String {
    format!("{of:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// A body as text; a long one by its length and a sum, in which each byte counts by its place.
pub(crate) fn body(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= 128 => json!(text),
        _ if bytes == noise(bytes.len()) => json!({ "noise": bytes.len() }),
        _ => json!({ "other bytes": bytes.len() }),
    }
}

/// Bytes that repeat nowhere soon: those of xorshift64, each word little-endian, beginning with the one after the seed.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}

pub(crate) fn source(source: &Source) -> String {
    source.user().map_or("the server".into(), ToString::to_string)
}

fn to(to: &To) -> Value {
    match to {
        To::Server => json!("the server"),
        To::User(user) => json!(user.as_str()),
        To::Device(user, device) => json!({ "user": user.as_str(), "device": device.0 }),
    }
}

pub(crate) fn failure(failure: Failure) -> Value {
    json!({ "failed": name(failure) })
}

pub(crate) fn refused(error: &SendError) -> Value {
    json!({ "not taken": name(error) })
}

pub(crate) fn sent(result: Result<(), SendError>) -> Value {
    result.map_or_else(|error| refused(&error), |()| json!("ok"))
}

/// How a call ended whose result is put into words by `ok`.
pub(crate) fn called<T>(result: Result<T, CallError>, ok: impl FnOnce(T) -> Value) -> Value {
    match result {
        Ok(value) => ok(value),
        Err(CallError::Refused(error)) => refused(&error),
        Err(CallError::Failed(error)) => failure(error),
        Err(error) => json!({ "failed": error.to_string() }),
    }
}

/// How a call of the server's application ended.
pub(crate) fn answered<T>(result: Result<T, Failure>, ok: impl FnOnce(T) -> Value) -> Value {
    result.map_or_else(failure, ok)
}

/// The outcome of a wait that may have been given up.
pub(crate) fn waited<T>(result: Result<T, Elapsed>, outcome: impl FnOnce(T) -> Value) -> Value {
    result.map_or_else(|_| json!("given up"), outcome)
}

/// Why a client ended.
pub(crate) fn ended(ended: Ended) -> Value {
    json!({ "ended": name(ended.reason) })
}

pub(crate) fn done<T>(_: T) -> Value {
    json!("ok")
}

pub(crate) fn page(page: OnlinePage) -> Value {
    let mut names: Vec<String> = page.users.into_iter().map(|online| online.user).collect();
    names.sort_unstable();
    json!({ "users": names, "more": page.next.is_some() })
}

/// Who is online and who is not.
pub(crate) fn members(page: MemberPage) -> Value {
    let more = page.next.is_some();
    let (online, offline): (Vec<_>, Vec<_>) = page.members.into_iter().partition(|one| one.online);
    let names = |members: Vec<Member>| -> Vec<String> { members.into_iter().map(|one| one.user).collect() };
    json!({ "online": names(online), "offline": names(offline), "more": more })
}

pub(crate) fn groups(page: GroupPage) -> Value {
    let group = |one: esf_driver::client::MyGroup| json!({ "group": one.group, "dynamic": one.dynamic, "mine": one.mine, "tag": one.tag });
    page.groups.into_iter().map(group).collect()
}

fn change(change: &GroupChange) -> Value {
    let about = match change {
        GroupChange::Joined(user)
        | GroupChange::Left(user)
        | GroupChange::Invited(user)
        | GroupChange::PulledIn(user)
        | GroupChange::Removed(user) => user.as_str(),
        GroupChange::Tagged(tag) => tag,
        _ => "",
    };
    json!({ "change": name(change), "about": about })
}

pub(crate) fn blob(result: Result<(), BlobError>) -> Value {
    match result {
        Ok(()) => json!("ok"),
        Err(BlobError::Refused(error)) => refused(&error),
        Err(BlobError::Failed(error)) => failure(error),
        Err(error) => json!({ "failed": name(error) }),
    }
}

pub(crate) fn not_connected(error: &ConnectError) -> Value {
    match error {
        ConnectError::Refused { code, cause } => json!({ "refused": name(code), "cause": cause }),
        ConnectError::Closed(reason) => json!({ "closed": name(reason) }),
        ConnectError::Unreachable { cause, .. } => json!({ "unreachable": cause }),
        error => json!({ "wrong": name(error) }),
    }
}

fn rights(rights: Rights) -> Value {
    let names = [(Rights::KICK, "kick"), (Rights::LIST, "list"), (Rights::GROUPS, "groups")];
    names.into_iter().filter(|(right, _)| rights.contains(*right)).map(|(_, name)| name).collect()
}

pub(crate) fn event(event: Event) -> Value {
    let variant = name(&event);
    let mut value = match event {
        Event::LoginCompleted { mode, rights: has } => json!({ "mode": name(mode), "rights": rights(has) }),
        Event::LoginRefused { code, cause } => json!({ "code": name(code), "cause": cause }),
        Event::ConnectionInterrupted { reason } | Event::Closed { reason } => json!({ "reason": name(reason) }),
        Event::RelogonCompleted { code, mode } => json!({ "code": name(code), "mode": mode.map(name) }),
        Event::Undeliverable { note, failure } => json!({ "note": note, "failure": name(failure) }),
        Event::PreReply { result } => json!({ "result": answered(result, |answer| body(&answer)) }),
        Event::GoAway { retry_after } => json!({ "retry_after_ms": ms(retry_after) }),
        Event::Lagged(count) => json!({ "count": count }),
        Event::ContactConnected { user }
        | Event::ContactOffline { user }
        | Event::GroupmateConnected { user }
        | Event::GroupmateOffline { user } => json!({ "user": user.as_str() }),
        Event::ContactDeviceConnected { user, device } | Event::ContactDeviceOffline { user, device } => {
            json!({ "user": user.as_str(), "device": device.0 })
        }
        Event::Group { group, event } => {
            let mut value = change(&event);
            value["group"] = json!(group.as_str());
            value
        }
        _ => json!({}),
    };
    value["event"] = json!(variant);
    value
}

pub(crate) fn server_event(event: Result<ServerEvent, Lagged>) -> Value {
    let Ok(event) = event else { return json!({ "event": "Lagged" }) };
    let variant = name(&event);
    let mut value = match event {
        ServerEvent::Connected { engine, takes_messages, .. } => {
            json!({ "user": engine.user.as_str(), "device": engine.device.0, "takes_messages": takes_messages })
        }
        ServerEvent::Disconnected { engine, reason } => {
            json!({ "user": engine.user.as_str(), "reason": name(reason) })
        }
        ServerEvent::PushedOut { engine, by } => {
            json!({ "user": engine.user.as_str(), "by": by.user.as_str() })
        }
        ServerEvent::BroadcastFailed { group, from, to, failure } => {
            json!({ "group": group.as_str(), "from": source(&from), "to": to.as_str(), "failure": name(failure) })
        }
        ServerEvent::TransmitFailed { from, to: target, info_type, failure } => {
            json!({ "from": source(&from), "to": to(&target), "type": info_type, "failure": name(failure) })
        }
        _ => json!({}),
    };
    value["event"] = json!(variant);
    value
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
