use super::*;

fn parse(text: &str) -> Result<Url, UrlError> {
    text.parse()
}

#[test]
fn the_parts_of_a_url() {
    let url = parse("ws://127.0.0.1:4540").unwrap();
    assert_eq!((url.host(), url.port(), url.authority(), url.path()), ("127.0.0.1", 4540, "127.0.0.1:4540", "/"));
    let url = parse("ws://[::1]:9/a?b=c").unwrap();
    assert_eq!((url.host(), url.port(), url.authority(), url.path()), ("::1", 9, "[::1]:9", "/a?b=c"));
    let url = parse("ws://chat.example/").unwrap();
    assert_eq!((url.host(), url.port(), url.path()), ("chat.example", 80, "/"));
    assert_eq!(url.to_string(), "ws://chat.example/");
}

#[test]
fn what_is_no_url_of_a_server() {
    for text in ["", "127.0.0.1:4540", "chat.example", "/", "ws://", "ws://:80", "ws://host:port", "ws://host:70000"] {
        assert_eq!(parse(text), Err(UrlError::Malformed), "{text}");
    }
    for text in ["http://host", "wss://host", "tcp://host:1"] {
        assert_eq!(parse(text), Err(UrlError::Scheme), "{text}");
    }
    for text in ["ws://me@host", "ws://me:secret@host:80", "ws://host/#there"] {
        assert_eq!(parse(text), Err(UrlError::Extra), "{text}");
    }
}
