//! What every store of people, groups and messages has to do, as tests over any of them.
//!
//! [`store_suite!`](crate::store_suite!) makes a test of each, over stores that a function makes.

mod groups;
mod mail;

use std::{sync::mpsc, time::Duration};

use bytes::Bytes;
use esf_driver::store::{
    Person, Store, StoreAnswer, StoreFailed, StoreId, StoreKey, StoreLimits, StoreRequest, StoreResponse, StoredMessage,
};
use esf_proto::ids::{DeviceKind, GroupId, InstanceId, MessageId, UserId};

pub use self::{groups::*, mail::*};

/// A store, and the hands of those who run it. Its clock stands still unless it is moved.
pub trait Keeper {
    /// The store as a server has it.
    fn store(&self) -> &dyn Store;
    /// Adds a user.
    fn add_user(&self, user: &UserId) -> bool;
    /// Removes a user with all that is theirs.
    fn remove_user(&self, user: &UserId) -> bool;
    /// Makes two users contacts.
    fn add_contact(&self, one: &UserId, other: &UserId) -> bool;
    /// Makes two users strangers.
    fn remove_contact(&self, one: &UserId, other: &UserId) -> bool;
    /// Makes a group.
    fn create_group(&self, group: &GroupId) -> bool;
    /// Removes a group.
    fn delete_group(&self, group: &GroupId) -> bool;
    /// Adds a member.
    fn add_member(&self, group: &GroupId, user: &UserId) -> bool;
    /// Removes a member.
    fn remove_member(&self, group: &GroupId, user: &UserId) -> bool;
    /// The numbers of the dead letters.
    fn dead_letters(&self) -> Vec<StoreId>;
    /// Lets a dead letter be delivered again.
    fn retry_dead_letter(&self, id: StoreId) -> bool;
    /// Forgets a dead letter.
    fn drop_dead_letter(&self, id: StoreId) -> bool;
    /// Moves the clock.
    fn pass(&self, time: Duration);
}

/// Makes an empty store with these limits, in which either every name is that of a user, or none is yet.
pub type Make<'a> = &'a dyn Fn(StoreLimits, Users) -> Box<dyn Keeper>;

/// Who is a user of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// Those who were added.
    Added,
    /// Every name.
    Everybody,
}

/// Makes a test of each part of the suite, over the stores that a function of type [`Make`] makes.
#[macro_export]
macro_rules! store_suite {
    ($make:expr) => {
        $crate::store_suite! { $make =>
            contacts_are_contacts_of_each_other
            contacts_come_in_pages_in_the_order_of_their_bytes
            nobody_is_a_contact_of_their_own
            a_person_has_contacts_groups_and_messages
            a_person_with_more_than_was_asked_for_is_cut
            members_come_in_pages_and_an_unknown_group_is_not_found
            a_deleted_group_has_no_members
            a_group_of_the_store_is_not_dynamic
            a_removed_user_is_nobodys_contact_and_in_no_group
            odd_names_are_names
            messages_come_in_the_order_in_which_they_were_put
            the_same_key_is_the_same_message
            a_confirmed_message_goes_and_its_key_stays_for_a_while
            an_unknown_user_gets_no_message
            every_name_is_a_user_where_everybody_is
            a_mailbox_takes_so_many_messages
            all_mailboxes_together_take_so_many_bytes
            a_message_that_is_too_old_goes
            pages_are_cut_by_count_and_by_bytes
            a_message_to_a_device_is_for_that_device
            a_message_that_is_never_confirmed_becomes_a_dead_letter
            a_dead_letter_is_tried_again_or_dropped
            what_is_confirmed_twice_is_confirmed
            nobody_confirms_or_tries_the_messages_of_another
            a_removed_user_has_no_messages_and_what_they_sent_stays
            messages_of_the_server_have_keys_of_their_own
            many_at_once_are_all_answered
        }
    };
    ($make:expr => $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $crate::store_suite::$name(&$make);
        })*
    };
}

/// The answer to a request, waited for for a while.
///
/// # Panics
/// There is none.
pub fn try_ask(keeper: &dyn Keeper, request: StoreRequest) -> Result<StoreResponse, StoreFailed> {
    begin(keeper, request).recv_timeout(Duration::from_secs(30)).expect("an answer")
}

/// Begins a request; the answer comes there.
pub fn begin(keeper: &dyn Keeper, request: StoreRequest) -> mpsc::Receiver<Result<StoreResponse, StoreFailed>> {
    let (told, heard) = mpsc::channel();
    keeper.store().submit(request, StoreAnswer::new(move |answer| drop(told.send(answer))));
    heard
}

fn ask(keeper: &dyn Keeper, request: StoreRequest) -> StoreResponse {
    try_ask(keeper, request).expect("a store that works")
}

fn made(make: Make<'_>) -> Box<dyn Keeper> {
    make(StoreLimits::default(), Users::Added)
}

/// A store with these users.
fn with_users(make: Make<'_>, names: &[&str]) -> Box<dyn Keeper> {
    let keeper = made(make);
    for name in names {
        assert!(keeper.add_user(&user(name)));
    }
    keeper
}

/// A user by name.
///
/// # Panics
/// The text is no name.
pub fn user(name: &str) -> UserId {
    UserId::parse(name, u8::MAX).expect("a name")
}

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

fn group(id: &str) -> GroupId {
    GroupId::parse(id).expect("an id")
}

fn person(keeper: &dyn Keeper, name: &str) -> Person {
    person_of(keeper, name, 1000, 1000)
}

fn person_of(keeper: &dyn Keeper, name: &str, max_contacts: usize, max_groups: usize) -> Person {
    let request = StoreRequest::Person { user: user(name), device: DeviceKind::PHONE, max_contacts, max_groups };
    match ask(keeper, request) {
        StoreResponse::Person(person) => person,
        other => panic!("a person, not {other:?}"),
    }
}

fn contacts(keeper: &dyn Keeper, name: &str, after: Option<&str>, limit: usize) -> Vec<UserId> {
    match ask(keeper, StoreRequest::Contacts { user: user(name), after: after.map(user), limit }) {
        StoreResponse::Names(names) => names,
        other => panic!("names, not {other:?}"),
    }
}

/// `None`: there is no such group.
fn members(keeper: &dyn Keeper, id: &str, after: Option<&str>, limit: usize) -> Option<Vec<UserId>> {
    match ask(keeper, StoreRequest::Members { group: group(id), after: after.map(user), limit }) {
        StoreResponse::Names(names) => Some(names),
        StoreResponse::NotFound => None,
        other => panic!("names, not {other:?}"),
    }
}

/// The key of message `id` of alice's only engine. The number of that has all its bits in use.
pub fn key(id: u64) -> StoreKey {
    StoreKey { user: Some(user("alice")), instance: InstanceId(u64::MAX - 1), id: MessageId(id) }
}

/// The request to keep message `id` of alice for a user.
pub fn put(id: u64, to: &str, frame: impl Into<Bytes>) -> StoreRequest {
    StoreRequest::Put { key: key(id), user: user(to), device: None, frame: frame.into() }
}

/// All that waits for a user on a phone.
pub fn mail(keeper: &dyn Keeper, name: &str) -> Vec<StoredMessage> {
    let (messages, more) = fetch(keeper, name, DeviceKind::PHONE, StoreId(0), 10_000, usize::MAX);
    assert!(!more, "there is a limit of messages");
    messages
}

fn fetch(
    keeper: &dyn Keeper,
    name: &str,
    device: DeviceKind,
    after: StoreId,
    max_messages: usize,
    max_bytes: usize,
) -> (Vec<StoredMessage>, bool) {
    match ask(keeper, StoreRequest::Fetch { user: user(name), device, after, max_messages, max_bytes }) {
        StoreResponse::Messages { messages, more } => (messages, more),
        other => panic!("messages, not {other:?}"),
    }
}

fn frames(messages: &[StoredMessage]) -> Vec<&[u8]> {
    messages.iter().map(|message| &*message.frame).collect()
}

fn knows(keeper: &dyn Keeper, key: StoreKey) -> bool {
    match ask(keeper, StoreRequest::Find { key }) {
        StoreResponse::Found(found) => found,
        other => panic!("found or not, not {other:?}"),
    }
}

fn confirm(keeper: &dyn Keeper, name: &str, messages: &[StoreId]) {
    let request = StoreRequest::Confirm { user: user(name), messages: messages.to_vec() };
    assert_eq!(ask(keeper, request), StoreResponse::Done);
}

fn tried(keeper: &dyn Keeper, name: &str, messages: &[StoreId]) {
    let request = StoreRequest::Tried { user: user(name), messages: messages.to_vec() };
    assert_eq!(ask(keeper, request), StoreResponse::Done);
}
