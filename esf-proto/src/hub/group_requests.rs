//! The methods of contacts and groups, one function each.

use alloc::vec::Vec;
use core::ops::Bound;

use bytes::{Bytes, BytesMut};

use super::{
    Hub,
    jobs::Purpose,
    people::{Asker, ListKind, Listing},
};
use crate::{
    failure::Failure,
    ids::{GroupId, UserId},
    login::Rights,
    server::PeopleRequest,
    store::StoreRequest,
    time::Instant,
    wire::{
        Method,
        requests::{
            Joining, MAX_LIST, Member, Members, MembersQuery, MyGroup, MyGroups, OfGroup, OfMember, OfTag, OnlineUser,
            OnlineUsers, PageQuery,
        },
    },
};

/// Entries in a page when the asker leaves it to the server.
const PAGE: u16 = 200;
/// A page is cut at this size, whatever its number of entries.
const PAGE_BYTES: usize = 16 * 1024;

/// A page: the cursor that asks for the next one, empty if this is the last, and the body.
type Page = (Bytes, Bytes);

impl<H: Clone> Hub<H> {
    pub(super) fn carry_out_request(&mut self, now: Instant, asker: Asker<H>, request: &PeopleRequest) {
        let answer = match request.method {
            Method::Contacts | Method::OnlineContacts => self.contacts(now, &asker, request),
            Method::GroupMembers => self.members(now, &asker, request),
            Method::MyGroups => self.my_groups(&asker.engine.user, request).map(Some),
            _ => self.change_group(&asker, request).map(Some),
        };
        match answer {
            Ok(Some(page)) => self.reply(asker, Ok(page)),
            // The store is asked.
            Ok(None) => {}
            Err(failure) => self.reply(asker, Err(failure)),
        }
    }

    fn change_group(&mut self, asker: &Asker<H>, request: &PeopleRequest) -> Result<Page, Failure> {
        let (user, session) = (&asker.engine.user, asker.session);
        let is_admin = request.rights.contains(Rights::GROUPS);
        let body = &*request.body;
        let group = |group: &str| GroupId::parse(group).map_err(|_| Failure::Malformed);
        let member = || {
            let OfMember { group: of, user } = OfMember::decode(body).map_err(|_| Failure::Malformed)?;
            // A name that nobody can have is that of nobody who is online.
            let user = UserId::parse(user, u8::MAX).map_err(|_| Failure::Offline)?;
            Ok::<_, Failure>((group(of)?, user))
        };
        let of_group = || group(OfGroup::decode(body).map_err(|_| Failure::Malformed)?.group);
        match request.method {
            Method::GroupJoin => {
                let group = of_group()?;
                let created = self.join(user, session, &group)?;
                let tag = self.groups.dynamic(&group).map_or("", |dynamic| &dynamic.tag);
                let mut out = BytesMut::new();
                Joining { created, tag }.encode(&mut out).map_err(|_| Failure::Internal)?;
                return Ok((Bytes::new(), out.freeze()));
            }
            Method::GroupQuit => self.quit(user, session, &of_group()?)?,
            Method::GroupInvite => {
                let (group, whom) = member()?;
                self.invite((user, session), &group, &whom)?;
            }
            Method::GroupPullIn => {
                let (group, whom) = member()?;
                self.pull_in((user, session), is_admin, &group, &whom)?;
            }
            Method::GroupRemove => {
                let (group, whom) = member()?;
                self.put_out((user, session), is_admin, &group, &whom)?;
            }
            Method::GroupTag => {
                let OfTag { group: of, tag } = OfTag::decode(body).map_err(|_| Failure::Malformed)?;
                self.tag((user, session), &group(of)?, tag)?;
            }
            _ => return Err(Failure::Unsupported),
        }
        Ok(Page::default())
    }

    fn contacts(&mut self, now: Instant, asker: &Asker<H>, request: &PeopleRequest) -> Result<Option<Page>, Failure> {
        let kind = if request.method == Method::Contacts { ListKind::Contacts } else { ListKind::OnlineContacts };
        let PageQuery { limit } = PageQuery::decode(&request.body).map_err(|_| Failure::Malformed)?;
        let (limit, after) = (limit_of(limit), after(&request.cursor)?);
        let listing = Listing { kind, limit };
        if !self.config.store {
            return self.page_of(&[], listing).map(Some);
        }
        let user = asker.engine.user.clone();
        self.ask_for(now, asker, listing, StoreRequest::Contacts { user, after, limit })
    }

    fn members(&mut self, now: Instant, asker: &Asker<H>, request: &PeopleRequest) -> Result<Option<Page>, Failure> {
        let MembersQuery { group, limit } = MembersQuery::decode(&request.body).map_err(|_| Failure::Malformed)?;
        let (limit, after) = (limit_of(limit), after(&request.cursor)?);
        let group = GroupId::parse(group).map_err(|_| Failure::Malformed)?;
        if !self.is_in(&asker.engine.user, &group) && !request.rights.contains(Rights::LIST) {
            return Err(Failure::NotAllowed);
        }
        let kind = if group.is_dynamic() { ListKind::MembersOfDynamic } else { ListKind::Members };
        let listing = Listing { kind, limit };
        if group.is_dynamic() {
            let dynamic = self.groups.dynamic(&group).ok_or(Failure::NotAllowed)?;
            let after = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let range = (after, Bound::Unbounded);
            let names: Vec<UserId> = dynamic.members.range::<UserId, _>(range).take(limit).cloned().collect();
            return self.page_of(&names, listing).map(Some);
        }
        if !self.config.store {
            return Err(Failure::NotAllowed);
        }
        self.ask_for(now, asker, listing, StoreRequest::Members { group, after, limit })
    }

    fn ask_for(
        &mut self,
        now: Instant,
        asker: &Asker<H>,
        listing: Listing,
        request: StoreRequest,
    ) -> Result<Option<Page>, Failure> {
        let purpose = Purpose::List(asker.clone(), listing);
        self.jobs.ask(now + self.config.store_timeout, purpose, request).ok_or(Failure::Busy)?;
        self.changed = true;
        Ok(None)
    }

    /// A page of these names, with who of them is online.
    pub(super) fn page_of(&mut self, names: &[UserId], listing: Listing) -> Result<Page, Failure> {
        let fits = cut(names, listing.limit, |name| name.len());
        // The names are all that there are if they are fewer than were asked for.
        let cursor = match fits.last() {
            Some(last) if fits.len() < names.len() || names.len() >= listing.limit => {
                Bytes::copy_from_slice(last.as_bytes())
            }
            _ => Bytes::new(),
        };
        let mut out = BytesMut::new();
        let encoded = if listing.kind == ListKind::OnlineContacts {
            let mut devices =
                |name: &UserId| self.show(name, true).into_iter().map(|device| device.0).take(255).collect::<Vec<u8>>();
            let online: Vec<(&UserId, Vec<u8>)> =
                fits.iter().map(|name| (name, devices(name))).filter(|(_, devices)| !devices.is_empty()).collect();
            let online: Vec<OnlineUser<'_>> =
                online.iter().map(|(name, devices)| OnlineUser::new(name.as_str(), devices)).collect();
            OnlineUsers::encode(&online, &mut out)
        } else {
            let by_store = listing.kind != ListKind::MembersOfDynamic;
            let mut members: Vec<Member<'_>> = Vec::with_capacity(fits.len());
            for name in fits {
                members.push(Member { user: name.as_str(), online: !self.show(name, by_store).is_empty() });
            }
            Members::encode(&members, &mut out)
        };
        encoded.map_err(|_| Failure::Internal)?;
        Ok((cursor, out.freeze()))
    }

    fn my_groups(&self, user: &UserId, request: &PeopleRequest) -> Result<Page, Failure> {
        let PageQuery { limit } = PageQuery::decode(&request.body).map_err(|_| Failure::Malformed)?;
        let limit = limit_of(limit);
        let after = core::str::from_utf8(&request.cursor).map_err(|_| Failure::Malformed)?;
        let mut groups = self.all_groups_of(user);
        groups.retain(|group| group.as_str() > after);
        groups.sort_unstable();
        let size = |group: &GroupId| group.len() + self.groups.dynamic(group).map_or(0, |dynamic| dynamic.tag.len());
        let fits = cut(&groups, limit, size);
        let cursor = match fits.last() {
            Some(last) if fits.len() < groups.len() => Bytes::copy_from_slice(last.as_bytes()),
            _ => Bytes::new(),
        };
        let entry = |group| {
            let dynamic = self.groups.dynamic(group);
            MyGroup {
                group,
                dynamic: dynamic.is_some(),
                mine: dynamic.is_some_and(|dynamic| dynamic.creator == *user),
                tag: dynamic.map_or("", |dynamic| &dynamic.tag),
            }
        };
        let entries: Vec<MyGroup<'_>> = fits.iter().map(|group| entry(group.as_str())).collect();
        let mut out = BytesMut::new();
        MyGroups::encode(&entries, &mut out).map_err(|_| Failure::Internal)?;
        Ok((cursor, out.freeze()))
    }
}

fn limit_of(limit: u16) -> usize {
    usize::from(if limit == 0 { PAGE } else { limit.min(MAX_LIST) })
}

/// The name behind which a page begins.
fn after(cursor: &[u8]) -> Result<Option<UserId>, Failure> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let name = core::str::from_utf8(cursor).map_err(|_| Failure::Malformed)?;
    UserId::parse(name, u8::MAX).map(Some).map_err(|_| Failure::Malformed)
}

/// As much of a list as a page may have; never nothing of a list that has something.
fn cut<T>(all: &[T], limit: usize, size: impl Fn(&T) -> usize) -> &[T] {
    let mut bytes = 0;
    let fits = all.iter().take(limit).take_while(|one| {
        let room = bytes < PAGE_BYTES;
        bytes += size(one);
        room
    });
    all.get(..fits.count()).unwrap_or_default()
}
