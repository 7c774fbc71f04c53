use clap::CommandFactory as _;

use super::*;
use crate::config::Settings;

fn parse(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
}

#[test]
fn the_definition_holds() {
    Cli::command().debug_assert();
}

#[test]
fn without_an_address_it_is_the_one_of_the_protocol() {
    // ESF-020.
    assert!(matches!(parse("esf serve --open"), Ok(Command::Serve(_))));
    assert_eq!(Settings::default().listen.as_str(), "127.0.0.1:4540");
    let command = Cli::command();
    let ping = command.find_subcommand("ping").expect("a command");
    let url = ping.get_arguments().find(|argument| argument.get_id() == "url").expect("an argument");
    assert_eq!(url.get_default_values(), ["ws://127.0.0.1:4540"]);
}

#[test]
fn a_device_kind_is_a_name_or_a_number() {
    assert_eq!(device_kind("cli"), Ok(DeviceKind(5)));
    assert_eq!(device_kind("200"), Ok(DeviceKind(200)));
    assert!(device_kind("256").is_err());
    assert!(device_kind("toaster").is_err());
}

#[test]
fn each_device_kind_has_a_name_that_can_be_typed() {
    for device in (0..=u8::MAX).map(DeviceKind) {
        assert_eq!(device_kind(&device_name(device)), Ok(device));
    }
}

#[test]
fn names_that_no_server_takes_are_refused() {
    for name in ["", "_service"] {
        let error = Cli::try_parse_from(["esf", "ping", "--user", name]).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{name}");
    }
}

#[test]
fn commands_log_in_as_a_command_line() {
    let Ok(Command::Listen(listen)) = parse("esf listen --user alice") else { panic!("not listen") };
    assert_eq!(listen.login.device, DeviceKind::COMMAND_LINE);
    assert!(!listen.echo && !listen.json && listen.count.is_none());
}

#[test]
fn a_count_of_nothing_is_refused() {
    assert!(parse("esf listen --user alice --count 0").is_err());
}
