use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use esf_tokio::{Bytes, DeviceKind, UserId};

use super::*;
use crate::config::Time;

/// An endpoint that answers each request with `answer`, and gives back what the first one asked.
fn endpoint(answer: impl Fn() -> Vec<u8> + Send + 'static) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/login", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        while !request.ends_with(b"}") {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "a torn request");
            request.extend_from_slice(&buffer[..read]);
        }
        let _ = stream.write_all(&answer());
        String::from_utf8(request).unwrap()
    });
    (url, served)
}

fn reply(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

fn login(interactive: bool) -> LoginRequest {
    LoginRequest {
        user: UserId::parse("anna", 64).unwrap(),
        device: DeviceKind::COMMAND_LINE,
        credential_kind: CredentialKind::Password,
        credential: Bytes::from_static(b"secret"),
        system_token: Bytes::from_static(&[0xff]),
        ticket: Bytes::new(),
        interactive,
        address: Some([192, 0, 2, 7].into()),
    }
}

fn asking(url: String) -> Endpoint {
    let settings =
        HttpSettings { url: Some(url), timeout: Time(Duration::from_millis(500)), ..HttpSettings::default() };
    Endpoint::new(&settings, Admins::default()).unwrap()
}

fn decide(endpoint: &Endpoint, login: LoginRequest) -> Decision {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(endpoint.authenticate(login))
}

#[test]
fn the_endpoint_hears_who_it_is_and_its_word_counts() {
    let admin = Decision::accept_with(Role::Admin.rights());
    for (answer, decision) in [
        (r#"{"allow": true}"#, Decision::accept()),
        (r#"{"allow": true, "roles": ["admin"], "more": 1}"#, admin),
        (r#"{"allow": false}"#, Decision::refuse(REFUSED)),
        (r#"{"allow": false, "cause": "not paid"}"#, Decision::refuse("not paid")),
    ] {
        let (url, served) = endpoint(move || reply("200 OK", answer));
        assert_eq!(decide(&asking(url), login(true)), decision, "{answer}");
        let request = served.join().unwrap();
        assert!(request.starts_with("POST /login HTTP/1.1\r\n"), "{request}");
        let body = request.split_once("\r\n\r\n").unwrap().1;
        let expected = concat!(
            r#"{"user":"anna","device":5,"credential_kind":"password","credential":"secret","system_token":"/w==","#,
            r#""address":"192.0.2.7","interactive":true}"#
        );
        assert_eq!(body, expected);
    }
}

#[test]
fn a_secret_is_brought_along() {
    let path = std::env::temp_dir().join(format!("esf-endpoint-{}", std::process::id()));
    std::fs::write(&path, "a long enough secret\n").unwrap();
    let (url, served) = endpoint(|| reply("200 OK", r#"{"allow": true}"#));
    let settings = HttpSettings { url: Some(url), secret: Some(path.display().to_string()), ..HttpSettings::default() };
    let endpoint = Endpoint::new(&settings, Admins::default()).unwrap();
    assert_eq!(decide(&endpoint, login(true)), Decision::accept());
    assert!(served.join().unwrap().contains("authorization: Bearer a long enough secret\r\n"));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn nonsense_lets_nobody_in() {
    let answers: [(&str, Vec<u8>); 8] = [
        ("no JSON", reply("200 OK", "yes")),
        ("another type", reply("200 OK", r#"{"allow": "true"}"#)),
        ("no word", reply("200 OK", "{}")),
        ("another status", reply("500 Internal Server Error", r#"{"allow": true}"#)),
        ("created", reply("201 Created", r#"{"allow": true}"#)),
        ("a redirect", b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ("too much", reply("200 OK", &format!(r#"{{"allow": true, "cause": "{}"}}"#, "x".repeat(70_000)))),
        ("no HTTP", b"hello\r\n\r\n".to_vec()),
    ];
    for (what, answer) in answers {
        let (url, served) = endpoint(move || answer.clone());
        assert_eq!(decide(&asking(url), login(true)), Decision::refuse(UNAVAILABLE), "{what}");
        served.join().unwrap();
    }
}

#[test]
fn an_endpoint_that_is_slow_or_down_is_said_to_be_and_an_engine_tries_again() {
    let (url, served) = endpoint(|| {
        thread::sleep(Duration::from_millis(1500));
        reply("200 OK", r#"{"allow": true}"#)
    });
    assert_eq!(decide(&asking(url), login(true)), Decision::refuse(UNAVAILABLE));
    served.join().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = asking(format!("http://{nobody}/"));
    assert_eq!(decide(&down, login(true)), Decision::refuse(UNAVAILABLE));
    assert_eq!(decide(&down, login(false)), Decision::Later { retry_after: AGAIN });
}

#[test]
fn a_credential_that_is_no_text_is_refused_without_a_question() {
    let login = LoginRequest { credential: Bytes::from_static(&[0xff]), ..login(true) };
    assert_eq!(decide(&asking("http://127.0.0.1:1/".into()), login), Decision::refuse(REFUSED));
}

#[test]
fn beyond_its_places_a_login_is_told_to_come_later() {
    let endpoint = asking("http://127.0.0.1:1/".into());
    let all = endpoint.0.places.try_acquire_many(u32::try_from(endpoint.0.places.available_permits()).unwrap());
    assert_eq!(decide(&endpoint, login(true)), Decision::Later { retry_after: AGAIN });
    drop(all);
}
