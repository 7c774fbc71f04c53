use super::*;

fn listen(text: &str) -> Result<String, String> {
    Listen::try_from(text.to_owned()).map(String::from)
}

#[test]
fn an_address_to_listen_on_may_be_written_as_a_url() {
    for text in ["127.0.0.1:0", "ws://127.0.0.1:0", "ws://127.0.0.1:0/"] {
        assert_eq!(listen(text), Ok("127.0.0.1:0".into()));
    }
    assert_eq!(listen("[::1]:4540"), Ok("[::1]:4540".into()));
}

#[test]
fn an_address_without_host_or_port_is_refused() {
    for text in ["", "4540", ":4540", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "wss://127.0.0.1:1"] {
        assert!(listen(text).is_err(), "{text}");
    }
}

#[test]
fn a_level_that_is_none_is_refused() {
    let level = |text: &str| Level::try_from(text.to_owned());
    assert!(level("debug").is_ok());
    assert!(level("info,esf_driver=trace").is_ok());
    assert!(level("verbose").is_err());
    assert!(level("info,loud").is_err());
    assert!(level("esf_driver=loud").is_err());
}
