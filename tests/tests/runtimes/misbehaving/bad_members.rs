//! Members of groups, and people with lists, that misbehave. The numbers are those of the table of bad input in
//! docs/PROTOCOL.md.

use bytes::{Bytes, BytesMut};
use esf_proto::{
    failure::Failure,
    wire::{
        Address, Frame, Kind, Method,
        requests::{Members, MembersQuery, MyGroups, OfGroup, OfMember, OfTag, OnlineUsers, PageQuery},
    },
};
use serde_json::json;

use super::Victims;
use crate::kit::{Runtime, raw::RawLink, spec::Call};

/// A client of the name `mallory`, and the requests that it makes.
struct Mallory {
    link: RawLink,
    last: u64,
}

/// The status, the cursor and the body of a response.
type Answer = (Result<(), Failure>, Bytes, Bytes);

impl Mallory {
    fn new(victims: &Victims) -> Self {
        let mut link = RawLink::open(&victims.url, "mallory", 66);
        link.log_in();
        Self { link, last: 0 }
    }

    fn ask(&mut self, method: Method, cursor: &[u8], body: &[u8]) -> Answer {
        self.last += 1;
        let envelope = self.link.to(Address::Server { instance: 0 }, self.last);
        let request = Frame::Request { envelope, ttl_ms: 10_000, method: method as u16, cursor, body };
        let request = esf_tests::by_hand::bytes_of(&request);
        self.link.push(request);
        loop {
            let frame = self.link.next_of(Kind::Response);
            let Ok(Frame::Response { envelope, status, cursor, body }) = frame.decode() else { panic!("a response") };
            if envelope.id == self.last {
                return (status, Bytes::copy_from_slice(cursor), Bytes::copy_from_slice(body));
            }
        }
    }

    fn fails(&mut self, what: &str, method: Method, cursor: &[u8], body: &[u8], failure: Failure) {
        let (status, ..) = self.ask(method, cursor, body);
        assert_eq!(status, Err(failure), "{method:?}: {what}");
    }
}

fn bytes(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    write(&mut out);
    out
}

fn page(limit: u16) -> BytesMut {
    bytes(|out| PageQuery { limit }.encode(out))
}

fn of_group(group: &str) -> BytesMut {
    bytes(|out| OfGroup { group }.encode(out).expect("a name"))
}

/// The lists, each with what asks for a page of one entry.
fn lists() -> [(Method, BytesMut); 5] {
    let members = bytes(|out| MembersQuery { group: "red", limit: 1 }.encode(out).expect("a name"));
    [
        (Method::OnlineUsers, page(1)),
        (Method::Contacts, page(1)),
        (Method::OnlineContacts, page(1)),
        (Method::GroupMembers, members),
        (Method::MyGroups, page(1)),
    ]
}

/// The entries of a page, by their names.
fn names(method: Method, body: &[u8]) -> Vec<String> {
    match method {
        Method::OnlineUsers | Method::OnlineContacts => {
            OnlineUsers::decode(body).expect("users").map(|one| one.user.to_owned()).collect()
        }
        Method::MyGroups => MyGroups::decode(body).expect("groups").map(|one| one.group.to_owned()).collect(),
        _ => Members::decode(body).expect("members").map(|one| one.user.to_owned()).collect(),
    }
}

// Row 36.

pub(super) fn cursors_that_are_forged_or_stale(runtime: &dyn Runtime) {
    let settings = json!({
        "users": { "alice": {}, "bob": {}, "mallory": { "rights": ["list"] } },
        "contacts": [["mallory", "alice"], ["mallory", "bob"]],
        "groups": { "red": ["alice", "bob", "mallory"], "white": ["mallory"] },
    });
    let victims = Victims::with(runtime, settings);
    let mut mallory = Mallory::new(&victims);
    for (method, body) in lists() {
        for (what, cursor) in [("not UTF-8", &b"\xff\xfe"[..]), ("half a letter", b"al\xc3")] {
            mallory.fails(what, method, cursor, &body, Failure::Malformed);
        }
        // What nobody is called, or nobody any more, is a place between names.
        let last = if method == Method::MyGroups { "white" } else { "bob" };
        for cursor in [&b"alicf"[..], b"aliceandbob"] {
            let (status, next, body) = mallory.ask(method, cursor, &body);
            let first = if method == Method::MyGroups { "red" } else { "bob" };
            assert_eq!((status, names(method, &body)), (Ok(()), vec![first.to_owned()]), "{method:?} {next:?}");
        }
        for cursor in [&b"zzz"[..], "\u{10ffff}".as_bytes()] {
            let (status, next, body) = mallory.ask(method, cursor, &body);
            assert_eq!((status, names(method, &body).len(), next.len()), (Ok(()), 0, 0), "{method:?}");
        }
        // A place before the first entry is the beginning, and one that points back makes nobody go round for ever.
        let (mut cursor, mut all) = (Bytes::from_static(b"!"), Vec::new());
        while !cursor.is_empty() && all.len() < 10 {
            let (status, next, body) = mallory.ask(method, &cursor, &body);
            assert_eq!(status, Ok(()), "{method:?}");
            assert!(next.is_empty() || next > cursor, "{method:?}");
            all.extend(names(method, &body));
            cursor = next;
        }
        assert!(all.len() >= 2 && all.contains(&last.to_owned()), "{method:?}: {all:?}");
    }
    for method in [Method::Contacts, Method::OnlineContacts] {
        for (what, cursor) in
            [("reserved", &b"_root"[..]), ("too long for a name", &[b'x'; 256]), ("huge", &[b'x'; 60_000])]
        {
            mallory.fails(what, method, cursor, &page(1), Failure::Malformed);
        }
    }
    victims.noticed_nothing("cursors");
}

// Rows 31 and 33.

pub(super) fn requests_about_groups_that_are_none(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let mut mallory = Mallory::new(&victims);
    let group_methods = [Method::GroupJoin, Method::GroupQuit];
    for method in group_methods {
        for (what, body) in [("nothing", &b""[..]), ("no id", b"\0"), ("cut off", b"\x05~ab"), ("a tail", b"\x02~a!")] {
            mallory.fails(what, method, b"", body, Failure::Malformed);
        }
        mallory.fails("not UTF-8", method, b"", b"\x03~\xff\xfe", Failure::Malformed);
        mallory.fails("the store's", method, b"", &of_group("red"), Failure::NotAllowed);
    }
    for method in [Method::GroupInvite, Method::GroupPullIn, Method::GroupRemove] {
        for (what, body) in [("nothing", &b""[..]), ("nobody", b"\x02~a"), ("a tail", b"\x02~a\x03bob!")] {
            mallory.fails(what, method, b"", body, Failure::Malformed);
        }
        let about = bytes(|out| OfMember { group: "~none", user: "bob" }.encode(out).expect("names"));
        mallory.fails("no such group", method, b"", &about, Failure::NotAllowed);
    }
    mallory.fails("nothing", Method::GroupTag, b"", b"\x02~a", Failure::Malformed);
    mallory.fails("not UTF-8", Method::GroupTag, b"", b"\x02~a\x01\0\xff", Failure::Malformed);
    let tag = bytes(|out| OfTag { group: "~none", tag: "mine" }.encode(out).expect("a tag"));
    mallory.fails("no such group", Method::GroupTag, b"", &tag, Failure::NotAllowed);
    // Of another's group neither the members nor the tag, and nobody is put out of it.
    let join: Call = serde_json::from_value(json!({ "do": "join", "group": "~theirs" })).expect("a call");
    assert_eq!(victims.peers[0].call(&join).wait(), json!(true));
    let about = bytes(|out| OfMember { group: "~theirs", user: "alice" }.encode(out).expect("names"));
    let tag = bytes(|out| OfTag { group: "~theirs", tag: "mine" }.encode(out).expect("a tag"));
    let members = bytes(|out| MembersQuery { group: "~theirs", limit: 0 }.encode(out).expect("a name"));
    let rows = [
        (Method::GroupRemove, about.clone()),
        (Method::GroupPullIn, about.clone()),
        (Method::GroupInvite, about),
        (Method::GroupTag, tag),
        (Method::GroupMembers, members),
    ];
    for (method, body) in rows {
        mallory.fails("another's", method, b"", &body, Failure::NotAllowed);
    }
    victims.noticed_nothing("requests about groups");
}

pub(super) fn a_thousand_groups_of_one(runtime: &dyn Runtime) {
    let victims = Victims::new(runtime);
    let mut mallory = Mallory::new(&victims);
    let mut outcomes = [0; 2];
    for number in 0..1_000 {
        match mallory.ask(Method::GroupJoin, b"", &of_group(&format!("~{number}"))).0 {
            Ok(()) => outcomes[0] += 1,
            Err(Failure::Busy) => outcomes[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(outcomes, [64, 936]);
    let tag = "x".repeat(1_025);
    let tag = bytes(|out| OfTag { group: "~7", tag: &tag }.encode(out).expect("a tag"));
    mallory.fails("a tag of 1,025 bytes", Method::GroupTag, b"", &tag, Failure::TooLarge);
    // Names that are hard to read are names like any.
    assert_eq!(mallory.ask(Method::GroupQuit, b"", &of_group("~7")).0, Ok(()));
    for odd in ["~", "~\0", "~\u{202e}~", "~\u{feff}\u{300}", "~\u{10ffff}", &format!("~{}", "é".repeat(127))] {
        assert_eq!(mallory.ask(Method::GroupJoin, b"", &of_group(odd)).0, Ok(()), "{odd:?}");
        assert_eq!(mallory.ask(Method::GroupQuit, b"", &of_group(odd)).0, Ok(()), "{odd:?}");
    }
    // Others make theirs.
    let join: Call = serde_json::from_value(json!({ "do": "join", "group": "~theirs" })).expect("a call");
    assert_eq!(victims.peers[1].call(&join).wait(), json!(true));
    victims.noticed_nothing("a thousand groups");
}
