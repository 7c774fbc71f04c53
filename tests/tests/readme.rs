//! What README.md says of defaults is what they are, and its clients are the same client. Its examples are compiled as those of
//! the documentation of this crate.

use std::time::Duration;

use esf_proto::{client, ids::UserId, server::Config};

const README: &str = include_str!("../../README.md");

#[test]
fn the_table_of_limits_has_the_defaults_of_a_server() {
    let config = Config::default();
    let rows = [
        ("max_frame", bytes(config.max_frame as usize)),
        ("window", bytes(config.window as usize)),
        ("budget", bytes(config.budget)),
        ("queue", bytes(config.queue)),
        ("resume_window", seconds(config.resume_window)),
        ("login_timeout", seconds(config.login_timeout)),
        ("max_user_id", config.max_user_id.to_string()),
        ("ping_after", seconds(config.ping_after)),
        ("liveness", seconds(config.liveness)),
        ("overflow", seconds(config.overflow)),
        ("max_ttl", seconds(config.max_ttl)),
        ("max_commands", config.max_commands.to_string()),
        ("max_open", config.max_open.to_string()),
        ("max_open_queries", config.max_open_queries.to_string()),
        ("max_open_query_bytes", bytes(config.max_open_query_bytes)),
    ];
    for (setting, value) in &rows {
        let row = format!("| `{setting}` | {value} |");
        assert!(README.contains(&row), "README.md lacks: {row}");
    }
    // `global_budget` is a part of the machine's memory, which the driver knows and not the configuration.
    let settings = README.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 4);
    assert_eq!(settings.count(), rows.len() + 1, "README.md has rows that are not compared here");
}

#[test]
fn the_line_below_it_has_the_defaults_of_a_client() {
    let config = client::Config::new(UserId::parse("alice", 64).unwrap());
    assert_eq!(config.certain_timeout, config.query_timeout);
    let line = format!(
        "A client sends a heartbeat every {}, waits {} for a confirmation or an answer, and queues at most {}.",
        seconds(config.heartbeat),
        seconds(config.query_timeout),
        bytes(config.budget)
    );
    assert!(README.contains(&line), "README.md lacks: {line}");
}

#[test]
fn the_client_is_the_same_on_every_runtime_and_has_ten_lines() {
    let clients = ["esf_tokio", "esf_smol", "esf_sync"].map(client_on);
    assert_eq!(clients[0], clients[1]);
    assert_eq!(clients[0], clients[2]);
    assert!((6..=10).contains(&clients[0].len()), "{:#?}", clients[0]);
}

/// The first example of README.md on a runtime, as far as it is about ESF: without `.await`, and what runs it.
fn client_on(adapter: &str) -> Vec<String> {
    let start = format!("use {adapter}::{{Config, To, UserId}};");
    let example =
        README.split("```").find(|block| block.contains(&start)).unwrap_or_else(|| panic!("none on {adapter}"));
    let about = example.lines().map(|line| line.trim().replace(".await", "").replace(adapter, "esf"));
    about.filter(|line| line.ends_with(';') || line.contains("; // ") || line == "Ok(())").collect()
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

fn bytes(count: usize) -> String {
    match count {
        mib if mib % (1 << 20) == 0 => format!("{} MiB", mib >> 20),
        kib => format!("{} KiB", kib >> 10),
    }
}
