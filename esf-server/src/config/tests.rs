use std::path::PathBuf;

use serde_json::json;

use super::*;

fn layers(text: &str) -> Result<Layers, Problem> {
    Layers::of_file(Path::new("esf.toml"), text)
}

fn read(text: &str) -> Result<Settings, String> {
    let settings = layers(text).and_then(|layers| Settings::deserialize(layers.reader()));
    settings.map_err(|problem| problem.to_string())
}

/// The example with the keys that have no default as well.
fn all_lines() -> String {
    let uncomment = |line: &'static str| {
        let key = line.strip_prefix('#').filter(|line| !line.is_empty() && !line.starts_with(' '));
        key.unwrap_or(line)
    };
    EXAMPLE.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_the_defaults() {
    assert_eq!(read(EXAMPLE), Ok(Settings::default()));
}

#[test]
fn the_example_has_every_key_and_says_what_it_means() {
    let (defaults, all) = (layers(EXAMPLE).unwrap(), layers(&all_lines()).unwrap());
    assert!(Settings::deserialize(all.reader()).is_ok(), "{:?}", read(&all_lines()));
    for key in KEYS.iter() {
        assert!(all.origin(&key.path).is_some(), "esf.example.toml lacks {}", key.path);
        assert_eq!(defaults.origin(&key.path).is_some(), !key.default.is_null(), "{}", key.path);
        assert!(key.about.len() > 20, "esf.example.toml does not explain {}", key.path);
    }
}

#[test]
fn flags_and_variables_have_one_key_each() {
    for names in [KEYS.iter().map(|key| &key.flag).collect::<Vec<_>>(), KEYS.iter().map(|key| &key.variable).collect()]
    {
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
    }
    for key in KEYS.iter() {
        assert!(matches!(keys::of_variable(&key.variable), Ok(Some(found)) if found.path == key.path), "{}", key.path);
    }
}

#[test]
fn what_a_file_has_wrong_is_told_with_line_and_key_and_advice() {
    for (text, told) in [
        (
            "[limits]\nlogins = 1",
            "esf.toml, line 2: limits.logins: there is no such key; did you mean logins_per_address?",
        ),
        (
            "logins_per_address = 1",
            "esf.toml, line 1: logins_per_address: there is no such key; did you mean limits.logins_per_address?",
        ),
        ("[log]\nzzz = 1", "esf.toml, line 2: log.zzz: there is no such key; known here are level, format"),
        (
            "open = true\nlitsen = \"127.0.0.1:1\"",
            "esf.toml, line 2: litsen: there is no such key; did you mean listen?",
        ),
        (
            "[limits]\nconections = 1",
            "esf.toml, line 2: limits.conections: there is no such key; did you mean connections?",
        ),
        (
            "[log]\n\nlevel = 3",
            "esf.toml, line 3: log.level: a text in quotes is needed here, not the number 3; `esf config example` shows it",
        ),
        (
            "[limits]\nconnections = \"many\"",
            "esf.toml, line 2: limits.connections: a whole number, 0 or more, is needed here, not the text \"many\"; `esf config example` shows it",
        ),
        (
            "[limits]\nconnections = -1",
            "esf.toml, line 2: limits.connections: a whole number, 0 or more, is needed here, not the number -1",
        ),
        (
            "open = 1",
            "esf.toml, line 1: open: true or false is needed here, not the number 1; `esf config example` shows it",
        ),
        (
            "limits = 1",
            "esf.toml, line 1: limits: a table is needed here, not the number 1; `esf config example` shows it",
        ),
        ("admins = [\n \"alice\",\n \"_bob\"]", "esf.toml, line 3: admins: `_bob` is no user name: "),
        (
            "admins = \"alice\"",
            "esf.toml, line 1: admins: a list, as [\"a\", \"b\"], is needed here, not the text \"alice\"; `esf config example` shows it",
        ),
        (
            "listen = \"nowhere\"",
            "esf.toml, line 1: listen: `nowhere` is no address to listen on; one looks like 127.0.0.1:4540",
        ),
        (
            "[log]\nformat = \"jsn\"",
            "esf.toml, line 2: log.format: `jsn` is none of these: text, json; did you mean json?",
        ),
        ("open = true\nopen = false", "esf.toml, line 2: this is no TOML: duplicate key"),
        ("open = true\nfoo", "esf.toml, line 2: this is no TOML: "),
    ] {
        let problem = read(text).unwrap_err();
        assert!(problem.starts_with(told), "{text}\n  says: {problem}\n  not:  {told}");
    }
}

fn sources(file: Option<&str>, environment: &[(&str, &str)], flags: &[(&str, &[&str])]) -> Sources {
    let key = |path: &str| KEYS.iter().find(|key| key.path == path).unwrap();
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Sources {
        file: file.map(PathBuf::from),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
        flags: Given(flags.iter().map(|(path, values)| (key(path), owned(values))).collect()),
    }
}

#[test]
fn a_variable_or_a_flag_says_numbers_switches_and_lists_in_text() {
    let environment = [("ESF_OPEN", "true"), ("ESF_LIMITS_CONNECTIONS", " 7 "), ("ESF_ADMINS", "alice, bob,")];
    let loaded = sources(None, &environment, &[("allow_origins", &["https://a,b"])]).load().unwrap();
    let values = leaves(&loaded.settings);
    assert_eq!(values["open"], json!(true));
    assert_eq!(values["limits.connections"], json!(7));
    assert_eq!(values["admins"], json!(["alice", "bob"]));
    assert_eq!(values["allow_origins"], json!(["https://a,b"]), "a flag is one element each time");
    assert_eq!(loaded.layers.origin("admins").unwrap().to_string(), "environment variable ESF_ADMINS");
    assert_eq!(loaded.layers.origin("log.level"), None);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn a_wrong_variable_or_flag_is_named() {
    let wrong =
        |environment: &[(&str, &str)], flags: &[(&str, &[&str])]| sources(None, environment, flags).load().unwrap_err();
    let problem = wrong(&[("ESF_LIMITS_CONNECTIONS", "many")], &[]);
    assert!(!problem.is_of_flag());
    let told = problem.to_string();
    assert!(told.starts_with("environment variable ESF_LIMITS_CONNECTIONS: limits.connections: a whole"), "{told}");
    let problem = wrong(&[], &[("log.level", &["loud"])]);
    assert!(problem.is_of_flag());
    assert_eq!(problem.to_string(), "--log: `loud` is no level: use off, error, warn, info, debug or trace");
}

#[test]
fn a_variable_that_nobody_knows_is_told_and_no_error() {
    let loaded = sources(None, &[("ESF_LSTEN", "x"), ("ESF_URL", "x"), ("ESF_PASSWORD", "x")], &[]).load().unwrap();
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert_eq!(warning, "the environment has ESF_LSTEN, which is no setting; did you mean ESF_LISTEN?");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let told = sources(Some("/nowhere/esf.toml"), &[], &[]).load().unwrap_err().to_string();
    assert!(told.starts_with("/nowhere/esf.toml: it cannot be read: ") && told.contains("--config"), "{told}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (flags, told) in [
        (
            &[("limits.connections", "10"), ("limits.connections_per_address", "11")][..],
            "--limits-connections-per-address: one address may have more connections than all together; lower this limit, or \
             raise that (limits.connections: --limits-connections)",
        ),
        (
            &[("limits.connections", "10"), ("limits.connections_per_address", "0")],
            "--limits-connections-per-address: one",
        ),
        (&[("proxy_header", "forwarded")], "--proxy-header: no proxy is trusted, so nobody reads this header; "),
        (&[("open", "true"), ("listen", "0.0.0.0:1")], "--listen: with --open everybody who reaches 0.0.0.0:1 could "),
        (&[("protocol.max_frame", "8191")], "--protocol-max-frame: it is 8 KiB to 1 GiB"),
        (&[("protocol.max_frame", "2 GiB")], "--protocol-max-frame: it is 8 KiB to 1 GiB"),
        (&[("protocol.max_user_id", "0")], "--protocol-max-user-id: it is 1 to 255"),
        (&[("protocol.login_timeout", "0")], "--protocol-login-timeout: it is 1 s to 1 h"),
        (&[("protocol.resume_window", "25 h")], "--protocol-resume-window: it is 24 h at most"),
        (
            &[("protocol.max_frame", "1 MiB"), ("protocol.session_budget", "1 MiB")],
            "--protocol-session-budget: a session has to hold at least two of the largest frames; ",
        ),
        (
            &[("protocol.total_budget", "1 MiB")],
            "--protocol-total-budget: all sessions together may hold less than one ",
        ),
    ] {
        let values: Vec<(&str, &[&str])> =
            flags.iter().map(|(key, value)| (*key, std::slice::from_ref(value))).collect();
        let problem = sources(None, &[], &values).load().unwrap_err();
        assert!(problem.to_string().starts_with(told), "{problem}\n  not: {told}");
        assert_eq!(problem.is_danger(), told.contains("everybody"), "{told}");
    }
}

#[test]
fn a_limit_that_only_a_default_is_at_odds_with_is_no_contradiction() {
    for (key, value) in
        [("limits.connections", "10"), ("protocol.max_frame", "2 MiB"), ("protocol.session_budget", "1 MiB")]
    {
        assert!(sources(None, &[], &[(key, &[value])]).load().is_ok(), "{key}");
    }
}
