//! The calls of a client about contacts and groups.

use bytes::Bytes;
use esf_proto::{
    client::MessageOptions,
    ids::{GroupId, UserId},
    wire::requests,
};

use super::{
    Client, SendError,
    calls::{CallError, Cursor, OnlinePage, malformed},
};

/// A contact, or a member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name.
    pub user: String,
    /// Whether the user is online.
    pub online: bool,
}

/// One page of contacts or members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPage {
    /// Those of this page, in an order of the server's. It may have none and not be the last.
    pub members: Vec<Member>,
    /// Where the next page begins; `None` for the last.
    pub next: Option<Cursor>,
}

/// A group that this user is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MyGroup {
    /// Its id.
    pub group: String,
    /// Whether it is dynamic.
    pub dynamic: bool,
    /// Whether this user made it.
    pub mine: bool,
    /// Its tag.
    pub tag: String,
}

/// One page of the groups of this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPage {
    /// Those of this page, in an order of the server's.
    pub groups: Vec<MyGroup>,
    /// Where the next page begins; `None` for the last.
    pub next: Option<Cursor>,
}

/// A group that was joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Whether it was made by that.
    pub created: bool,
    /// Its tag.
    pub tag: String,
}

impl Client {
    /// Sends a message to the members of a group that are online. Only a member may: whoever asks to be told in the
    /// options hears it as [`Event::Undeliverable`](super::Event::Undeliverable) if it is none.
    ///
    /// # Errors
    /// It is not taken, and the error has the body.
    pub fn broadcast(
        &self,
        group: &GroupId,
        info_type: u32,
        body: impl Into<Bytes>,
        options: MessageOptions,
    ) -> Result<(), SendError> {
        let body = body.into();
        self.shared().command(|session, now| session.broadcast(now, group, info_type, body, options))
    }

    /// A page of the contacts of this user.
    ///
    /// # Errors
    /// `Internal` if the server's store does not answer; otherwise as [`query`](Self::query).
    pub async fn contacts(&self, from: Cursor) -> Result<MemberPage, CallError> {
        let response = self.request(|session, now| session.contacts(now, 0, from.bytes())).await?;
        member_page(&response.body, response.cursor)
    }

    /// A page of the contacts that are online.
    ///
    /// # Errors
    /// As [`contacts`](Self::contacts).
    pub async fn online_contacts(&self, from: Cursor) -> Result<OnlinePage, CallError> {
        let response = self.request(|session, now| session.online_contacts(now, 0, from.bytes())).await?;
        OnlinePage::read(&response.body, response.cursor)
    }

    /// [`contacts`](Self::contacts) under its older name.
    ///
    /// # Errors
    /// As there.
    pub async fn friends(&self, from: Cursor) -> Result<MemberPage, CallError> {
        self.contacts(from).await
    }

    /// [`online_contacts`](Self::online_contacts) under its older name.
    ///
    /// # Errors
    /// As there.
    pub async fn online_friends(&self, from: Cursor) -> Result<OnlinePage, CallError> {
        self.online_contacts(from).await
    }

    /// A page of the members of a group, with who of them is online.
    ///
    /// # Errors
    /// `NotAllowed` for whoever is no member and may not list; otherwise as [`contacts`](Self::contacts).
    pub async fn group_members(&self, group: &GroupId, from: Cursor) -> Result<MemberPage, CallError> {
        let response = self.request(|session, now| session.group_members(now, group, 0, from.bytes())).await?;
        member_page(&response.body, response.cursor)
    }

    /// A page of the groups that this user is in.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn my_groups(&self, from: Cursor) -> Result<GroupPage, CallError> {
        let response = self.request(|session, now| session.my_groups(now, 0, from.bytes())).await?;
        let groups = requests::MyGroups::decode(&response.body).map_err(malformed)?;
        let groups = groups.map(|one| MyGroup {
            group: one.group.to_owned(),
            dynamic: one.dynamic,
            mine: one.mine,
            tag: one.tag.to_owned(),
        });
        Ok(GroupPage { groups: groups.collect(), next: Cursor::behind(response.cursor) })
    }

    /// Enters a dynamic group, whose id starts with `~`, and makes it if it is not there.
    ///
    /// # Errors
    /// `NotAllowed` if it is not dynamic, `Busy` if it or this user has as many as may be; otherwise as
    /// [`query`](Self::query).
    pub async fn join_group(&self, group: &GroupId) -> Result<Joined, CallError> {
        let response = self.request(|session, now| session.join_group(now, group)).await?;
        let requests::Joining { created, tag } = requests::Joining::decode(&response.body).map_err(malformed)?;
        Ok(Joined { created, tag: tag.to_owned() })
    }

    /// Leaves a dynamic group.
    ///
    /// # Errors
    /// `NotAllowed` for whoever is no member; otherwise as [`query`](Self::query).
    pub async fn quit_group(&self, group: &GroupId) -> Result<(), CallError> {
        self.request(|session, now| session.quit_group(now, group)).await.map(drop)
    }

    /// Invites somebody into a dynamic group that this user is in.
    ///
    /// # Errors
    /// `NotAllowed` for whoever is no member, `Offline`; otherwise as [`query`](Self::query).
    pub async fn invite(&self, group: &GroupId, user: &UserId) -> Result<(), CallError> {
        self.request(|session, now| session.invite(now, group, user)).await.map(drop)
    }

    /// Takes somebody into a dynamic group that this user has made.
    ///
    /// # Errors
    /// `NotAllowed` for others without the right to groups, `Offline`, `Busy`; otherwise as [`query`](Self::query).
    pub async fn pull_in(&self, group: &GroupId, user: &UserId) -> Result<(), CallError> {
        self.request(|session, now| session.pull_in(now, group, user)).await.map(drop)
    }

    /// Puts somebody out of a dynamic group that this user has made.
    ///
    /// # Errors
    /// `NotAllowed` for others without the right to groups, `NotFound` if the user is no member; otherwise as
    /// [`query`](Self::query).
    pub async fn remove_member(&self, group: &GroupId, user: &UserId) -> Result<(), CallError> {
        self.request(|session, now| session.remove_member(now, group, user)).await.map(drop)
    }

    /// Changes the tag of a dynamic group that this user is in; at most 1,024 bytes.
    ///
    /// # Errors
    /// `NotAllowed` for whoever is no member, `TooLarge`; otherwise as [`query`](Self::query).
    pub async fn tag_group(&self, group: &GroupId, tag: &str) -> Result<(), CallError> {
        self.request(|session, now| session.tag_group(now, group, tag)).await.map(drop)
    }
}

fn member_page(body: &[u8], cursor: Bytes) -> Result<MemberPage, CallError> {
    let members = requests::Members::decode(body).map_err(malformed)?;
    let members = members.map(|one| Member { user: one.user.to_owned(), online: one.online }).collect();
    Ok(MemberPage { members, next: Cursor::behind(cursor) })
}
