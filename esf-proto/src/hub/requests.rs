//! Requests to the server, one function a method. Every list is paged.

use alloc::vec::Vec;
use core::ops::Bound;

use bytes::{Bytes, BytesMut};

use super::{Hub, Party, Reach, Whose};
use crate::{
    failure::Failure,
    ids::UserId,
    login::Rights,
    server::{HubEvent, PeopleRequest},
    wire::{
        Method,
        requests::{DeviceEntry, Devices, Kick, MAX_LIST, Online, OnlineUser, OnlineUsers, PageQuery, Users},
    },
};

/// Users in a page when the asker leaves it to the server.
const PAGE: u16 = 200;
/// A page is cut at this size, whatever its number of users.
const PAGE_BYTES: usize = 16 * 1024;

/// A page: the cursor that asks for the next one, empty if this is the last, and the body.
type Page = (BytesMut, BytesMut);

impl<H: Clone> Hub<H> {
    /// Answers a request, or says what the session has to do about it.
    pub(super) fn request(
        &self,
        party: &Party<'_, H>,
        id: u64,
        method: u16,
        cursor: &[u8],
        body: &[u8],
        reach: &impl Reach<H>,
    ) -> Option<HubEvent> {
        let answer = match Method::from_u16(method) {
            Some(Method::Ping) if body.is_empty() => Ok(Page::default()),
            Some(Method::Ping) => Err(Failure::Malformed),
            Some(Method::IsOnline) => self.which_online(body),
            Some(Method::MyDevices) if body.is_empty() => self.devices_of(&party.engine.user),
            Some(Method::MyDevices) => Err(Failure::Malformed),
            Some(Method::OnlineUsers) => self.online_users(party.rights, cursor, body),
            Some(Method::Kick) => match kick(party.rights, body) {
                Ok(user) => return Some(HubEvent::Kick { user, id }),
                Err(failure) => Err(failure),
            },
            Some(method) => {
                let (cursor, body) = (Bytes::copy_from_slice(cursor), Bytes::copy_from_slice(body));
                return Some(HubEvent::Request(PeopleRequest { id, rights: party.rights, method, cursor, body }));
            }
            None => Err(Failure::Unsupported),
        };
        match answer {
            Err(Failure::NotAllowed) => self.counters.not_allowed.add(1),
            Err(Failure::Malformed) => self.counters.requests_malformed.add(1),
            _ => {}
        }
        reach.visit(Whose::Session(party.handle), |outbox| match &answer {
            Ok((cursor, page)) => outbox.respond(id, Ok(()), cursor, page),
            Err(failure) => outbox.respond(id, Err(*failure), &[], &[]),
        });
        None
    }

    fn which_online(&self, body: &[u8]) -> Result<Page, Failure> {
        let users = Users::decode(body).map_err(|_| Failure::Malformed)?;
        let mut out = BytesMut::new();
        Online::encode(users.map(|user| self.is_online(user)), &mut out);
        Ok((BytesMut::new(), out))
    }

    fn devices_of(&self, user: &str) -> Result<Page, Failure> {
        let devices = self.people.get(user).into_iter().flat_map(|person| &person.devices);
        let entry = |login: &super::Login<H>| DeviceEntry {
            device: login.device,
            instance: login.instance,
            connected: login.window.is_none(),
        };
        let mut entries: Vec<DeviceEntry> = devices.map(entry).collect();
        entries.sort_by_key(|entry| entry.device);
        let mut out = BytesMut::new();
        Devices::encode(&entries, &mut out).map_err(|_| Failure::Internal)?;
        Ok((BytesMut::new(), out))
    }

    /// A page of who is online, in the order of names. The cursor is the last name of the page before.
    fn online_users(&self, rights: Rights, cursor: &[u8], body: &[u8]) -> Result<Page, Failure> {
        if !rights.contains(Rights::LIST) {
            return Err(Failure::NotAllowed);
        }
        let query = PageQuery::decode(body).map_err(|_| Failure::Malformed)?;
        let limit = usize::from(if query.limit == 0 { PAGE } else { query.limit.min(MAX_LIST) });
        let after = core::str::from_utf8(cursor).map_err(|_| Failure::Malformed)?;
        let after = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
        let mut names = self.online.range::<str, _>((after, Bound::Unbounded)).peekable();
        let mut page: Vec<(&str, Vec<u8>)> = Vec::new();
        let mut bytes = 0;
        while page.len() < limit && bytes < PAGE_BYTES {
            let Some(name) = names.next() else { break };
            let devices = self.people.get(&**name).into_iter().flat_map(|person| &person.devices);
            let devices: Vec<u8> = devices.map(|login| login.device.0).take(255).collect();
            bytes += name.len() + devices.len();
            page.push((name, devices));
        }
        let cursor = match (names.peek(), page.last()) {
            (Some(_), Some((last, _))) => BytesMut::from(last.as_bytes()),
            _ => BytesMut::new(),
        };
        let users: Vec<OnlineUser<'_>> = page.iter().map(|(user, devices)| OnlineUser::new(user, devices)).collect();
        let mut out = BytesMut::new();
        OnlineUsers::encode(&users, &mut out).map_err(|_| Failure::Internal)?;
        Ok((cursor, out))
    }
}

fn kick(rights: Rights, body: &[u8]) -> Result<UserId, Failure> {
    if !rights.contains(Rights::KICK) {
        return Err(Failure::NotAllowed);
    }
    let kick = Kick::decode(body).map_err(|_| Failure::Malformed)?;
    UserId::parse(kick.user, u8::MAX).map_err(|_| Failure::Malformed)
}
