use super::*;

const HELLO: Arrival<'_> = Arrival {
    event: "message",
    group: None,
    from: Some("alice"),
    info_type: 1,
    tag: None,
    accepted_at_ms: None,
    text: Some("hello"),
    base64: None,
};

#[test]
fn a_line_for_people() {
    assert_eq!(HELLO.line(), "message from alice, type 1: hello");
    let tagged = Arrival { event: "engine_message", from: None, tag: Some("news"), ..HELLO };
    assert_eq!(tagged.line(), "engine message from the server, type 1 [news]: hello");
    let stored = Arrival { accepted_at_ms: Some(1_795_270_574_999), ..HELLO };
    assert_eq!(stored.line(), "message from alice, type 1, stored at 2026-11-21T14:16:14Z: hello");
    let broadcast = Arrival { event: "broadcast", group: Some("red\n"), ..HELLO };
    assert_eq!(broadcast.line(), "broadcast in red\\n from alice, type 1: hello");
    let bytes = Arrival { text: None, base64: Some(base64(&[0xff, 0])), ..HELLO };
    assert_eq!(bytes.line(), "message from alice, type 1: base64 /wA=");
}

#[test]
fn a_name_cannot_forge_a_line() {
    let forged = Arrival { from: Some("x\nmessage from root, type 1: go"), ..HELLO };
    assert_eq!(forged.line().lines().count(), 1);
}

#[test]
fn an_object_for_programs() {
    assert_eq!(HELLO.json(), r#"{"event":"message","from":"alice","type":1,"text":"hello"}"#);
    let broadcast = Arrival { event: "broadcast", group: Some("red"), ..HELLO };
    assert_eq!(broadcast.json(), r#"{"event":"broadcast","group":"red","from":"alice","type":1,"text":"hello"}"#);
    let bytes = Arrival { from: None, text: None, base64: Some(base64(&[0xff, 0])), ..HELLO };
    assert_eq!(bytes.json(), r#"{"event":"message","from":null,"type":1,"base64":"/wA="}"#);
}
