//! Contacts, groups and their members.

use super::*;

/// SEMANTICS: contacts are pairs.
pub fn contacts_are_contacts_of_each_other(make: Make<'_>) {
    let keeper = &*with_users(make, &["alice", "bob"]);
    assert!(keeper.add_contact(&user("alice"), &user("bob")));
    assert!(!keeper.add_contact(&user("alice"), &user("bob")), "they are");
    assert!(!keeper.add_contact(&user("bob"), &user("alice")), "they are, from either side");
    assert_eq!(contacts(keeper, "alice", None, 10), users(&["bob"]));
    assert_eq!(contacts(keeper, "bob", None, 10), users(&["alice"]));
    assert!(keeper.remove_contact(&user("bob"), &user("alice")));
    assert!(!keeper.remove_contact(&user("alice"), &user("bob")));
    assert_eq!(contacts(keeper, "alice", None, 10), []);
    assert_eq!(contacts(keeper, "bob", None, 10), []);
}

/// Pages are by the last name of the one before; a name that is gone meanwhile, or was never there, is as good.
pub fn contacts_come_in_pages_in_the_order_of_their_bytes(make: Make<'_>) {
    let keeper = &*made(make);
    for name in ["ä", "b", "B", "a", "ab", "~"] {
        assert!(keeper.add_contact(&user("me"), &user(name)));
    }
    assert_eq!(contacts(keeper, "me", None, 4), users(&["B", "a", "ab", "b"]));
    assert_eq!(contacts(keeper, "me", Some("b"), 4), users(&["~", "ä"]));
    assert_eq!(contacts(keeper, "me", Some("aa"), 1), users(&["ab"]), "behind a name that is not there");
    assert_eq!(contacts(keeper, "me", Some("ä"), 4), []);
    assert_eq!(contacts(keeper, "me", None, 0), []);
    assert_eq!(contacts(keeper, "stranger", None, 4), []);
}

/// Nobody is told about themselves.
pub fn nobody_is_a_contact_of_their_own(make: Make<'_>) {
    let keeper = &*with_users(make, &["alice"]);
    assert!(!keeper.add_contact(&user("alice"), &user("alice")));
    assert_eq!(contacts(keeper, "alice", None, 10), []);
}

/// What a login asks.
pub fn a_person_has_contacts_groups_and_messages(make: Make<'_>) {
    let keeper = &*with_users(make, &["alice", "bob"]);
    assert_eq!(person(keeper, "bob"), Person { exists: true, ..Person::default() });
    assert_eq!(person(keeper, "mallory"), Person::default());
    assert!(keeper.add_contact(&user("bob"), &user("carol")));
    assert!(keeper.add_contact(&user("alice"), &user("bob")));
    for id in ["staff", "dance"] {
        assert!(keeper.create_group(&group(id)));
        assert!(keeper.add_member(&group(id), &user("bob")));
    }
    assert_eq!(ask(keeper, put(1, "bob", "hello")), StoreResponse::Stored);
    let bob = person(keeper, "bob");
    assert_eq!(bob.contacts, users(&["alice", "carol"]));
    assert_eq!(bob.groups, [group("dance"), group("staff")]);
    assert!(bob.exists && bob.stored && !bob.cut);
}

/// A contact list of a million does not come whole.
pub fn a_person_with_more_than_was_asked_for_is_cut(make: Make<'_>) {
    let keeper = &*made(make);
    for name in ["a", "b", "c"] {
        assert!(keeper.add_contact(&user("me"), &user(name)));
        assert!(keeper.create_group(&group(name)));
        assert!(keeper.add_member(&group(name), &user("me")));
    }
    let all = person_of(keeper, "me", 3, 3);
    assert!(all.contacts.len() == 3 && all.groups.len() == 3 && !all.cut);
    let fewer_contacts = person_of(keeper, "me", 2, 3);
    assert_eq!(fewer_contacts.contacts, users(&["a", "b"]));
    assert!(fewer_contacts.groups.len() == 3 && fewer_contacts.cut);
    let fewer_groups = person_of(keeper, "me", 3, 2);
    assert_eq!(fewer_groups.groups, [group("a"), group("b")]);
    assert!(fewer_groups.contacts.len() == 3 && fewer_groups.cut);
}

/// An empty group is a group.
pub fn members_come_in_pages_and_an_unknown_group_is_not_found(make: Make<'_>) {
    let keeper = &*made(make);
    assert!(!keeper.add_member(&group("staff"), &user("a")), "there is no such group");
    assert_eq!(members(keeper, "staff", None, 10), None);
    assert!(keeper.create_group(&group("staff")));
    assert!(!keeper.create_group(&group("staff")), "there is one");
    assert_eq!(members(keeper, "staff", None, 10), Some(Vec::new()));
    for name in ["c", "a", "b"] {
        assert!(keeper.add_member(&group("staff"), &user(name)));
    }
    assert!(!keeper.add_member(&group("staff"), &user("b")), "a member already");
    assert_eq!(members(keeper, "staff", None, 2), Some(users(&["a", "b"])));
    assert_eq!(members(keeper, "staff", Some("b"), 2), Some(users(&["c"])));
    assert!(keeper.remove_member(&group("staff"), &user("b")));
    assert!(!keeper.remove_member(&group("staff"), &user("b")));
    assert_eq!(members(keeper, "staff", Some("a"), 2), Some(users(&["c"])));
    assert_eq!(person(keeper, "b").groups, []);
}

/// Also when one of the same id is made again.
pub fn a_deleted_group_has_no_members(make: Make<'_>) {
    let keeper = &*made(make);
    assert!(keeper.create_group(&group("staff")));
    assert!(keeper.add_member(&group("staff"), &user("a")));
    assert!(keeper.delete_group(&group("staff")));
    assert!(!keeper.delete_group(&group("staff")));
    assert_eq!(members(keeper, "staff", None, 10), None);
    assert_eq!(person(keeper, "a").groups, []);
    assert!(keeper.create_group(&group("staff")));
    assert_eq!(members(keeper, "staff", None, 10), Some(Vec::new()));
    assert_eq!(person(keeper, "a").groups, []);
}

/// Ids of dynamic groups are a space of their own.
pub fn a_group_of_the_store_is_not_dynamic(make: Make<'_>) {
    let keeper = &*made(make);
    assert!(!keeper.create_group(&group("~dance")));
    assert_eq!(members(keeper, "~dance", None, 10), None);
}

/// Also when a user of the same name comes later.
pub fn a_removed_user_is_nobodys_contact_and_in_no_group(make: Make<'_>) {
    let keeper = &*with_users(make, &["alice", "bob"]);
    assert!(keeper.add_contact(&user("alice"), &user("bob")));
    assert!(keeper.create_group(&group("staff")));
    for name in ["alice", "bob"] {
        assert!(keeper.add_member(&group("staff"), &user(name)));
    }
    assert!(keeper.remove_user(&user("bob")));
    assert!(!keeper.remove_user(&user("bob")));
    assert!(keeper.add_user(&user("bob")));
    assert_eq!(contacts(keeper, "alice", None, 10), []);
    assert_eq!(members(keeper, "staff", None, 10), Some(users(&["alice"])));
    assert_eq!(person(keeper, "bob"), Person { exists: true, ..Person::default() });
}

/// A name is its bytes, whatever they mean elsewhere.
pub fn odd_names_are_names(make: Make<'_>) {
    let keeper = &*made(make);
    let long = "ÿ".repeat(127);
    let odd = ["'; DROP TABLE contact; --", "%", "a\0b", "\u{202e}ecila", "e\u{301}", "é", "🦀", &long];
    for name in odd {
        assert!(keeper.add_user(&user(name)), "{name:?}");
        assert!(keeper.add_contact(&user("me"), &user(name)), "{name:?}");
        assert!(keeper.create_group(&group(name)), "{name:?}");
        assert!(keeper.add_member(&group(name), &user(name)), "{name:?}");
        assert_eq!(members(keeper, name, None, 10), Some(users(&[name])), "{name:?}");
    }
    let mut sorted = users(&odd);
    sorted.sort();
    assert_eq!(contacts(keeper, "me", None, 100), sorted);
    for (id, name) in (1..).zip(odd) {
        assert_eq!(ask(keeper, put(id, name, name.to_owned())), StoreResponse::Stored, "{name:?}");
        assert_eq!(frames(&mail(keeper, name)), [name.as_bytes()]);
    }
}
