//! docs/CLI.md and `esf --help` say what there is.

use crate::esf::Esf;

const PAGE: &str = include_str!("../../../docs/CLI.md");

#[test]
fn the_page_names_every_command() {
    let help = Esf::run("--help", &[]).fine();
    let commands: Vec<&str> = help
        .iter()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert_eq!(commands.len(), 16, "{commands:?}");
    for command in commands {
        assert!(PAGE.contains(&format!("## esf {command}\n")), "docs/CLI.md has no section for esf {command}");
    }
}

/// Those of `esf serve` are its settings, of which the example has every one.
#[test]
fn the_page_names_every_flag() {
    for command in [
        "user",
        "user add",
        "user passwd",
        "user list",
        "listen",
        "send",
        "broadcast",
        "blob",
        "query",
        "ping",
        "online",
        "watch",
        "kick",
        "chat",
    ] {
        for line in Esf::run(&format!("{command} --help"), &[]).fine() {
            let flag = line.split_whitespace().find(|word| word.starts_with("--") && word.len() > 2);
            let Some(flag) = flag.filter(|_| line.trim_start().starts_with('-')) else { continue };
            assert!(flag == "--help" || PAGE.contains(&format!("`{flag}")), "docs/CLI.md does not name {flag}");
        }
    }
}

#[test]
fn the_help_has_the_exit_codes_of_the_page() {
    let help = Esf::run("--help", &[]).fine();
    let rows = PAGE.lines().filter_map(|line| {
        let (code, meaning) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        Some((code.parse::<u8>().ok()?, meaning))
    });
    let rows: Vec<(u8, &str)> = rows.collect();
    assert_eq!(rows.len(), 26);
    for (code, meaning) in rows {
        assert!(help.contains(&format!("  {code:>3}  {meaning}")), "`esf --help` lacks {code}: {meaning}");
    }
}
