use super::*;
use crate::url::Url;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const GOOD: &str = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: x, esf.v1\r\n";

fn rules() -> Rules<u8> {
    let mut origins = Origins::default();
    origins.allow("https://Chat.example/");
    Rules { paths: vec![("/", "esf.v1", 1), ("/other", "other", 2)], origins }
}

/// Judges `head` with its empty line added.
fn judged(head: &str) -> Verdict<u8> {
    judge(format!("{head}\r\n").as_bytes(), &rules())
}

fn refusal(head: &str) -> Refusal {
    match judged(head) {
        Verdict::Refuse { refusal, .. } => refusal,
        Verdict::Upgrade { .. } => panic!("accepted: {head}"),
    }
}

fn without(field: &str) -> String {
    let kept: Vec<&str> = GOOD.split_inclusive("\r\n").filter(|line| !line.starts_with(field)).collect();
    assert!(kept.concat().len() < GOOD.len(), "no such field: {field}");
    kept.concat()
}

#[test]
fn a_good_request_is_upgraded_with_the_key_of_the_standard() {
    let Verdict::Upgrade { path, answer } = judged(GOOD) else { panic!("refused") };
    assert_eq!(path, 1);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    assert!(answer.contains("\r\nSec-WebSocket-Protocol: esf.v1\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"));
}

#[test]
fn a_path_may_carry_a_query_and_has_its_own_protocol() {
    let query = GOOD.replace("GET / ", "GET /?a=b ");
    assert!(matches!(judged(&query), Verdict::Upgrade { path: 1, .. }));
    let other = GOOD.replace("GET / ", "GET /other ").replace("esf.v1", "other");
    assert!(matches!(judged(&other), Verdict::Upgrade { path: 2, .. }));
    assert_eq!(refusal(&GOOD.replace("GET / ", "GET /other ")), Refusal::SubProtocol);
}

#[test]
fn each_refusal_and_the_order_of_them() {
    let evil = "Origin: https://evil.example\r\n";
    let huge = format!("{GOOD}X: {}\r\n", "x".repeat(MAX_HEAD));
    let many = format!("{GOOD}{}", "X: y\r\n".repeat(MAX_FIELDS));
    // Each row breaks its own rule and, where it can, every rule below it.
    let rows = [
        (huge, Refusal::HeadTooLarge),
        (many, Refusal::HeadTooLarge),
        ("\x16\x03\x01".into(), Refusal::Malformed),
        ("GET / HTTP/1.0\r\n".into(), Refusal::Malformed),
        ("GET / HTTP/2.0\r\n".into(), Refusal::Malformed),
        (format!("POST /nowhere HTTP/1.1\r\n{evil}"), Refusal::Origin),
        ("POST /nowhere HTTP/1.1\r\n".into(), Refusal::Path),
        ("POST / HTTP/1.1\r\n".into(), Refusal::Method),
        ("GET / HTTP/1.1\r\nHost: h\r\n".into(), Refusal::NoUpgrade),
        (without("Connection"), Refusal::NoUpgrade),
        (without("Upgrade"), Refusal::NoUpgrade),
        (GOOD.replace("Version: 13", "Version: 8").replace(KEY, ""), Refusal::Version),
        (without("Sec-WebSocket-Version"), Refusal::Version),
        (without("Sec-WebSocket-Key").replace("esf.v1", "y"), Refusal::Key),
        (GOOD.replace(KEY, "c2hvcnQ="), Refusal::Key),
        (format!("{GOOD}Sec-WebSocket-Key: {KEY}\r\n"), Refusal::Key),
        (without("Sec-WebSocket-Protocol"), Refusal::SubProtocol),
        (GOOD.replace("esf.v1", "esf.v2"), Refusal::SubProtocol),
    ];
    for (head, expected) in rows {
        assert_eq!(refusal(&head), expected, "{}", head.get(..200).unwrap_or(&head));
    }
}

#[test]
fn a_head_that_never_ends_is_too_large() {
    let endless = vec![b'a'; MAX_HEAD + 1];
    assert!(matches!(judge(&endless, &rules()), Verdict::Refuse { refusal: Refusal::HeadTooLarge, .. }));
}

#[test]
fn every_refusal_is_a_whole_answer_with_a_line_of_text() {
    let all = [
        (Refusal::HeadTooLarge, 431),
        (Refusal::Malformed, 400),
        (Refusal::Origin, 403),
        (Refusal::Path, 404),
        (Refusal::Method, 405),
        (Refusal::NoUpgrade, 426),
        (Refusal::Version, 426),
        (Refusal::Key, 400),
        (Refusal::SubProtocol, 400),
        (Refusal::Full, 503),
        (Refusal::AddressFull, 429),
    ];
    for (refusal, status) in all {
        let answer = refusal.answer();
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let end = response.parse(answer.as_bytes()).unwrap().unwrap();
        assert_eq!(response.code, Some(status));
        let body = &answer[end..];
        assert_eq!(list(response.headers, "content-length").next(), Some(&*body.len().to_string()));
        assert!(has_element(response.headers, "connection", "close"), "{answer}");
        assert!(body.len() > 20 && body.ends_with('\n') && body.lines().count() == 1, "{answer}");
        if status == 426 {
            assert!(has_element(response.headers, "upgrade", "websocket"), "{answer}");
            assert!(has_element(response.headers, "connection", "upgrade"), "{answer}");
        }
    }
    assert!(Refusal::Version.answer().contains("\r\nSec-WebSocket-Version: 13\r\n"));
    assert!(Refusal::Method.answer().contains("\r\nAllow: GET\r\n"));
}

#[test]
fn pages_of_this_machine_and_allowed_ones_may_connect() {
    for origin in [
        "http://localhost",
        "https://LOCALHOST:8443",
        "http://127.0.0.1:3000",
        "http://127.8.9.1",
        "http://[::1]",
        "http://[::1]:80",
        "https://chat.example",
    ] {
        assert!(matches!(judged(&format!("{GOOD}Origin: {origin}\r\n")), Verdict::Upgrade { .. }), "{origin}");
    }
    for origin in [
        "null",
        "",
        "file://",
        "https://evil.example",
        "http://chat.example",
        "https://chat.example:444",
        "https://chat.example.evil",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost:80@evil.example",
        "http://localhost@evil.example",
        "http://evil.example/localhost",
        "http://[::2]",
        "http://128.0.0.1",
        "ws://localhost.",
    ] {
        assert_eq!(refusal(&format!("{GOOD}Origin: {origin}\r\n")), Refusal::Origin, "{origin}");
    }
    let two = format!("{GOOD}Origin: http://localhost\r\nOrigin: https://evil.example\r\n");
    assert_eq!(refusal(&two), Refusal::Origin, "one bad origin among several");
}

#[test]
fn every_page_may_connect_where_the_operator_says_so() {
    let mut origins = Origins::default();
    origins.allow("*");
    assert!(origins.permit(b"https://evil.example"));
}

#[test]
fn the_end_of_a_head_is_found_in_any_pieces() {
    let head = format!("{GOOD}\r\n");
    let with_more = format!("{head}more");
    for piece in [1, 2, 3, 5, 1000] {
        let mut end = HeadEnd::default();
        let mut came = Vec::new();
        let mut found = None;
        for bytes in with_more.as_bytes().chunks(piece) {
            came.extend_from_slice(bytes);
            found = end.find(&came);
            if found.is_some() {
                break;
            }
        }
        assert_eq!(found, Some(head.len()), "in pieces of {piece}");
    }
    assert_eq!(HeadEnd::default().find(b"GET / HTTP/1.1\r\n"), None);
}

/// What the server of these tests answers to the client's own request.
fn answered(url: &str) -> Verdict<u8> {
    let url: Url = url.parse().unwrap();
    judge(request(&url, KEY, "esf.v1", Some("http://localhost")).as_bytes(), &rules())
}

#[test]
fn the_client_asks_what_the_server_accepts_and_accepts_its_answer() {
    let Verdict::Upgrade { answer, .. } = answered("ws://127.0.0.1:4540") else { panic!("refused") };
    assert_eq!(check_reply(answer.as_bytes(), KEY, "esf.v1"), Ok(Accepted { protocol: "esf.v1".into() }));
    assert!(matches!(answered("ws://h/nowhere"), Verdict::Refuse { refusal: Refusal::Path, .. }));
}

#[test]
fn the_client_takes_nothing_else_for_an_agreement() {
    let Verdict::Upgrade { answer, .. } = judged(GOOD) else { panic!("refused") };
    let check = |answer: &str| check_reply(answer.as_bytes(), KEY, "esf.v1");
    for (from, to, field) in [
        ("Upgrade: websocket", "Upgrade: h2c", "Upgrade"),
        ("Connection: Upgrade", "Connection: close", "Connection"),
        ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "Sec-WebSocket-Accept"),
        ("Protocol: esf.v1", "Protocol: esf.v2", "Sec-WebSocket-Protocol"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "Sec-WebSocket-Extensions"),
    ] {
        assert_eq!(check(&answer.replace(from, to)), Err(HandshakeError::NotAgreed(field)));
    }
    assert_eq!(
        check(&Refusal::Origin.answer()),
        Err(HandshakeError::Refused { status: 403, text: "Forbidden".into() })
    );
    assert_eq!(check("SSH-2.0-OpenSSH\r\n\r\n"), Err(HandshakeError::Malformed));
    let many = answer.replace("\r\n\r\n", &format!("\r\n{}\r\n", "X: y\r\n".repeat(MAX_FIELDS)));
    assert_eq!(check(&many), Err(HandshakeError::TooLarge));
}
