use std::time::Duration;

use super::*;

#[test]
fn the_defaults_are_those_of_the_library() {
    let (mut config, library) = (ServerConfig::default(), ServerConfig::default());
    Settings::default().protocol.apply(&mut config);
    assert_eq!(format!("{config:?}"), format!("{library:?}"));
    assert_eq!(Settings::default().admission(), Admission::default());
    assert_eq!(Settings::default().store_limits(), StoreLimits::default());
}

#[test]
fn every_setting_of_the_protocol_reaches_it() {
    let protocol = Protocol {
        max_frame: Size(5000),
        max_blob: Size(6000),
        max_user_id: 7,
        session_budget: Size(8000),
        total_budget: Some(Size(9000)),
        login_timeout: Time(Duration::from_secs(10)),
        resume_window: Time(Duration::from_secs(11)),
        silence: Time(Duration::from_secs(12)),
        max_ttl: Time(Duration::from_secs(13)),
        relogin: Relogin::IgnoreNew,
        quit_on_offline: false,
    };
    let mut config = ServerConfig::default();
    protocol.apply(&mut config);
    assert_eq!((config.max_frame, config.max_blob, config.max_user_id), (5000, 6000, 7));
    assert_eq!((config.budget, config.global_budget), (8000, 9000));
    let times = [config.login_timeout, config.resume_window, config.liveness, config.max_ttl];
    assert_eq!(times.map(|time| time.as_secs()), [10, 11, 12, 13]);
    assert_eq!((config.relogin, config.quit_on_offline), (esf_tokio::Relogin::IgnoreNew, false));
}

#[test]
fn every_setting_of_the_store_reaches_it() {
    let seconds = |seconds| Time(Duration::from_secs(seconds));
    let store = Store { max_messages: 1, max_age: seconds(2), max_total: Size(3) };
    let protocol = Protocol { max_ttl: seconds(100), resume_window: seconds(10), ..Protocol::default() };
    let limits = Settings { store, protocol, ..Settings::default() }.store_limits();
    assert_eq!((limits.max_messages, limits.max_age.as_secs(), limits.max_total), (1, 2, 3));
    assert_eq!(limits.keep_keys.as_secs(), 120);
}

#[test]
fn every_setting_of_the_admission_reaches_it() {
    let settings = Settings {
        allow_origins: vec!["https://chat.example".to_owned()],
        trusted_proxies: vec![Range("10.0.0.0/8".parse().unwrap())],
        proxy_header: ProxyHeader::Forwarded,
        limits: Limits {
            connections: 1,
            connections_per_address: 2,
            logins_per_address: 3,
            pre_queries_per_address: 4,
        },
        ..Settings::default()
    };
    let Admission { limits, origins, proxies, header } = settings.admission();
    assert_eq!((limits.connections, limits.connections_per_address), (1, 2));
    assert_eq!((limits.logins_per_address, limits.pre_queries_per_address), (3, 4));
    assert!(origins.permit(b"https://chat.example"));
    assert_eq!(proxies, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(header, ForwardedHeader::Forwarded);
}
