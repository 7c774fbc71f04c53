//! Logins that somebody else decides about: signed tokens, and an HTTP endpoint.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    sync::mpsc::channel,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use crate::{
    accounts::Data,
    esf::{Ended, Esf},
};

/// A running server, where it listens, and its directory.
fn server(name: &str, flags: &str) -> (Esf, String, Data) {
    let data = Data::new(name);
    let mut server = Esf::start(&format!("serve --listen 127.0.0.1:0 {flags}"), &["--data", data.path()]);
    let listening = server.line();
    let url = listening.strip_prefix("listening on ").unwrap_or_else(|| panic!("{listening}")).to_owned();
    (server, url, data)
}

/// `esf` as this user, with a token in the environment.
fn run(url: &str, user: &str, token: &str, line: &str) -> Ended {
    let mut command = Esf::command(line);
    command.env("ESF_URL", url).env("ESF_USER", user).env("ESF_TOKEN", token);
    Esf::spawn(command, format!("esf {line}")).ended()
}

fn key(name: &str) -> String {
    format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn token(user: &str, roles: &[&str], seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"sub": user, "aud": "esf", "exp": now - 300 + seconds, "roles": roles});
    let key = EncodingKey::from_ed_pem(&fs::read(key("ed25519.pem")).unwrap()).unwrap();
    encode(&Header::new(Algorithm::EdDSA), &claims, &key).unwrap()
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("esf-tokens-{}-{name}", std::process::id()));
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn whom_a_token_names_is_let_in_with_the_rights_that_it_tells() {
    let key = key("ed25519.pub.pem");
    let flags = format!("--auth-method token --auth-token-eddsa-key {key} --auth-token-audience esf");
    let (_server, url, _data) = server("tokens", &flags);
    run(&url, "anna", &token("anna", &[], 900), "ping").fine();
    // In a file, as well.
    let kept = file("anna", &format!("{}\n", token("anna", &["admin"], 900)));
    let line = format!("online --url {url} --user anna --token-file {}", kept.display());
    Esf::run(&line, &[]).fine();
    fs::remove_file(kept).unwrap();
    assert!(run(&url, "anna", &token("anna", &[], 900), "online").code != Some(0), "no admin may not list");
    for (user, token) in [("bo", token("anna", &[], 900)), ("anna", token("anna", &[], 0)), ("anna", "nonsense".into())]
    {
        let ended = run(&url, user, &token, "ping");
        assert!(ended.refused(4).contains("the token is not good"), "{ended:?}");
    }
    let without = Esf::run(&format!("ping --url {url} --user anna"), &[]);
    assert!(without.refused(4).contains("ESF_TOKEN"), "{without:?}");
}

#[test]
fn a_method_without_what_it_needs_is_told_so() {
    for (flags, code, reason) in [
        ("--auth-method token", 2, "tokens need a key"),
        ("--auth-method http", 2, "set url in [auth.http]"),
        ("--auth-method http --auth-http-url https://127.0.0.1/", 2, "http://"),
        ("--open --auth-method token", 2, "open server"),
        (
            "--auth-method token --auth-token-audience esf --auth-token-rs256-key /nowhere",
            18,
            "/nowhere cannot be read",
        ),
    ] {
        let ended = Esf::run(&format!("serve --listen 127.0.0.1:0 {flags}"), &[]);
        assert!(ended.refused(code).contains(reason), "{flags}: {ended:?}");
    }
}

#[test]
fn an_endpoint_decides_and_while_it_is_down_nobody_else_notices() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap();
    let (asked, answered) = channel();
    let answers = thread::spawn(move || {
        for body in [r#"{"allow": true}"#, r#"{"allow": false, "cause": "not paid"}"#] {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            while !request.ends_with(b"}") {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0);
                request.extend_from_slice(&buffer[..read]);
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
            asked.send(()).unwrap();
        }
    });
    let (_server, url, _data) = server("endpoint", &format!("--auth-method http --auth-http-url http://{endpoint}/"));
    let listening = Esf::start(&format!("listen --url {url} --user anna --json"), &[]);
    answered.recv_timeout(Duration::from_secs(20)).unwrap();
    let refused = Esf::run(&format!("ping --url {url} --user bo"), &[]);
    assert!(refused.refused(4).contains("not paid"), "{refused:?}");
    answers.join().unwrap();
    let down = Esf::run(&format!("ping --url {url} --user bo"), &[]);
    assert!(down.refused(4).contains("at present"), "{down:?}");
    // Who is in stays in.
    listening.signal("INT");
    listening.ended().fine();
}
