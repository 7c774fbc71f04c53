//! Groups, as commands take part in them: one of the store has its members, and a dynamic one is entered.

use std::{fmt, time::Duration};

use esf_tokio::{
    Bytes, CallError, Client, Cursor, Event, Failure, GroupChange, GroupId, MessageOptions, Policy, To, UserId,
};

use crate::{
    exit::{Code, Exit},
    output::printable,
};

/// How long a refusal may take on its way after the server has answered something else.
const REFUSED_WITHIN: Duration = Duration::from_millis(100);

/// How long to wait for the answers when groups are left.
const LEFT_WITHIN: Duration = Duration::from_secs(1);

/// Who is to get something.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    User(UserId),
    Group(GroupId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => fmt::Display::fmt(user, f),
            Self::Group(group) => write!(f, "the group {group}"),
        }
    }
}

/// Takes part in groups: enters dynamic ones; those of the store must have this user already. Tells which it has entered,
/// for [`leave`].
pub(crate) async fn enter(client: &Client, groups: &[GroupId]) -> Result<Vec<GroupId>, Exit> {
    let mut entered = Vec::new();
    for group in groups {
        let was_in = is_member(client, group).await?;
        if group.is_dynamic() {
            join(client, group).await?;
        } else if !was_in {
            return Err(no_member(group));
        }
        if !was_in {
            entered.push(group.clone());
        }
    }
    Ok(entered)
}

/// Leaves what was entered, if there is still a connection to say it on.
pub(crate) async fn leave(client: &Client, entered: &[GroupId]) {
    if !client.is_connected() {
        return;
    }
    let leave = async {
        for group in entered {
            // Somebody may have been faster.
            let _ = client.quit_group(group).await;
        }
    };
    // The server takes it that the user is gone, in the end.
    let _ = tokio::time::timeout(LEFT_WITHIN, leave).await;
}

/// Enters a dynamic group.
pub(crate) async fn join(client: &Client, group: &GroupId) -> Result<(), Exit> {
    client.join_group(group).await.map(drop).map_err(|error| match error {
        CallError::Failed(Failure::Busy) => Exit::new(
            Code::Busy,
            format!("{group} cannot be joined: it has as many members as may be, or you are in as many groups"),
        ),
        error => Exit::of_call(&error, "the server"),
    })
}

/// Refuses whoever is no member.
pub(crate) async fn check(client: &Client, group: &GroupId) -> Result<(), Exit> {
    if is_member(client, group).await? { Ok(()) } else { Err(no_member(group)) }
}

async fn is_member(client: &Client, group: &GroupId) -> Result<bool, Exit> {
    let mut next = Some(Cursor::START);
    while let Some(cursor) = next {
        let page = client.my_groups(cursor).await.map_err(|error| Exit::of_call(&error, "the server"))?;
        if page.groups.iter().any(|mine| mine.group == group.as_str()) {
            return Ok(true);
        }
        next = page.next;
    }
    Ok(false)
}

/// What whoever is no member is told.
pub(crate) fn no_member(group: &GroupId) -> Exit {
    let how = if group.is_dynamic() {
        format!("`esf listen --join '{group}'` and `esf chat --group '{group}'` enter it")
    } else {
        "`esf group add` makes members, with the `--data` of the server".into()
    };
    Exit::new(Code::NotAllowed, format!("you are not in the group {group}; {how}"))
}

/// Sends to a group, and asks to be told of a refusal.
pub(crate) fn broadcast(client: &Client, group: &GroupId, info_type: u32, body: Bytes) -> Result<(), Exit> {
    let options = MessageOptions { policy: Policy::Queue, echo: false, tell: Some(0) };
    client.broadcast(group, info_type, body, options).map_err(|error| Exit::of_send(&error))
}

/// Waits until the server has what was sent to groups, and has had time to refuse it.
pub(crate) async fn handed_over(client: &Client) -> Result<(), Exit> {
    client.settled().await.map_err(|error| Exit::of_call(&error, "the server"))?;
    client.ping(To::Server).await.map_err(|error| Exit::of_call(&error, "the server"))?;
    tokio::time::sleep(REFUSED_WITHIN).await;
    Ok(())
}

/// Why something that went to a group came to nothing; `None` for any other event.
pub(crate) fn refusal(event: &Event, group: &GroupId) -> Option<Exit> {
    match event {
        Event::Undeliverable { failure: Failure::NotAllowed, .. } => Some(no_member(group)),
        Event::Undeliverable { failure, .. } => {
            Some(Exit::of_call(&CallError::Failed(*failure), &format!("the group {group}")))
        }
        _ => None,
    }
}

/// What people are to know of what happens in a group.
pub(crate) fn telling(group: &GroupId, change: &GroupChange) -> Option<String> {
    let group = printable(group);
    Some(match change {
        GroupChange::Joined(user) => format!("{user} joined {group}"),
        GroupChange::Left(user) => format!("{user} left {group}"),
        GroupChange::Invited(by) => format!("{by} invites you to {group}: `esf chat --group '{group}'` enters it"),
        GroupChange::PulledIn(by) => format!("{by} took you into {group}"),
        GroupChange::Removed(by) => format!("{by} put you out of {group}"),
        GroupChange::Tagged(tag) => format!("{group} is about: {tag}"),
        _ => return None,
    })
}
