//! Settings: from file, environment and flags, and what a wrong one gets.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use crate::esf::{Esf, Server};

/// A file of the test's own, which goes with it.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("esf-{}-{name}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// `esf` with variables and the words of `line`.
fn esf(variables: &[(&str, &str)], line: &str) -> Esf {
    let mut command = Esf::command(line);
    command.envs(variables.iter().copied());
    Esf::spawn(command, format!("esf {line}"))
}

/// Starts a server by such a line, and gives it with where it listens.
fn server(variables: &[(&str, &str)], line: &str) -> (Esf, String) {
    let mut esf = esf(variables, line);
    let listening = esf.line();
    let address = listening.strip_prefix("listening on ws://").unwrap_or_else(|| panic!("{listening}"));
    let address = address.to_owned();
    (esf, address)
}

/// Asks for a WebSocket: the status, and the connection.
fn ask(address: &str, fields: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: esf.v1\r\n{fields}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    (String::from_utf8_lossy(&status[9..]).into_owned(), stream)
}

#[test]
fn a_wrong_file_is_told_with_line_key_and_advice() {
    for (text, told) in [
        ("open = true\nlitsen = \"127.0.0.1:0\"\n", "line 2: litsen: there is no such key; did you mean listen?"),
        ("open = true\n[limits]\nconnections = \"many\"\n", "line 3: limits.connections: a whole number"),
        ("open = yes\n", "line 1: this is no TOML: "),
        (
            "[limits]\nconnections = 10\nconnections_per_address = 20\n",
            "line 3: limits.connections_per_address: one address may have more connections than all together",
        ),
    ] {
        let file = File::new("wrong", text);
        for command in ["serve --open --listen 127.0.0.1:0 --config", "config check"] {
            let ended = Esf::run(command, &[file.path()]);
            assert!(ended.stdout.is_empty(), "{ended:?}");
            let line = ended.refused(18);
            assert!(line.starts_with(&format!("esf: {}, {told}", file.path())), "{line}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ended = Esf::run("serve --open --config /nowhere/esf.toml", &[]);
    assert!(ended.refused(18).contains("/nowhere/esf.toml"), "{ended:?}");
}

#[test]
fn a_wrong_flag_is_a_wrong_command_line_and_a_wrong_variable_is_not() {
    let ended = Esf::run("serve --open --limits-connections many", &[]);
    assert!(ended.refused(2).starts_with("esf: --limits-connections: a whole number"), "{ended:?}");
    let ended = esf(&[("ESF_LIMITS_CONNECTIONS", "many")], "serve --open").ended();
    assert!(ended.refused(18).starts_with("esf: environment variable ESF_LIMITS_CONNECTIONS: "), "{ended:?}");
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = File::new("order", "open = true\nlisten = \"127.0.0.1:1\"\n[log]\nlevel = \"off\"\n");
    // Port 1 cannot be had, nor can port 2.
    let line = format!("serve --config {}", file.path());
    let (by_variable, _) = server(&[("ESF_LISTEN", "127.0.0.1:0")], &line);
    drop(by_variable);
    let (by_flag, _) = server(&[("ESF_LISTEN", "192.0.2.1:2")], &format!("{line} --listen 127.0.0.1:0"));
    drop(by_flag);

    let checked =
        |variables: &[(&str, &str)]| esf(variables, &format!("config check {} --origins", file.path())).ended();
    let lines = checked(&[("ESF_LOG_LEVEL", "warn"), ("ESF_ADMINS", "alice,bob")]).fine();
    let shown = esf(&[], "config show").ended().fine();
    let keys = shown.iter().filter(|line| line.contains(" = ") || line.ends_with("is not set")).count();
    assert_eq!(
        lines,
        [
            format!("{}: good; 4 of {keys} keys are set", file.path()),
            format!("listen = \"127.0.0.1:1\" ({}, line 2)", file.path()),
            format!("open = true ({}, line 1)", file.path()),
            "admins = [\"alice\",\"bob\"] (environment variable ESF_ADMINS)".into(),
            "log.level = \"warn\" (environment variable ESF_LOG_LEVEL)".into(),
        ]
    );
}

#[test]
fn the_file_is_found_where_the_server_is_started() {
    let directory = std::env::temp_dir().join(format!("esf-{}-place", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("esf.toml"), "admins = [\"zoe\"]\n").unwrap();
    let mut command = Esf::command("config check --origins");
    command.current_dir(&directory);
    let lines = Esf::spawn(command, "esf config check".into()).ended().fine();
    assert_eq!(lines[1], "admins = [\"zoe\"] (esf.toml, line 1)");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_is_shown_and_the_example_are_files_that_can_be_read() {
    for command in ["config show", "config example"] {
        let text = Esf::run(command, &[]).fine().join("\n");
        let file = File::new("shown", &text);
        let lines = Esf::run("config check", &[file.path()]).fine();
        assert!(lines[0].contains("good"), "{lines:?}");
    }
    let shown = Esf::run("config show", &[]).fine();
    assert!(shown.contains(&"listen = \"127.0.0.1:4540\"".to_owned()), "{shown:#?}");
}

#[cfg(unix)]
#[test]
fn a_hang_up_reads_the_settings_again() {
    let file = File::new("reload", "open = true\nadmins = []\n");
    let line = format!("serve --listen 127.0.0.1:0 --log info --config {}", file.path());
    let (mut process, address) = server(&[], &line);
    let url = format!("ws://{address}");
    let online = || Esf::run("online --user zoe", &["--url", &url]);
    assert_eq!(online().code, Some(7), "she has no right to");

    file.write("open = true\nadmins = [\"zoe\"]\n[log]\nformat = \"json\"\n");
    process.signal("HUP");
    let changed = process.note_with("a setting has changed");
    assert!(changed.contains("admins") && changed.contains("zoe"), "{changed}");
    let later = process.note_with("when the server is started again");
    assert!(later.contains("log.format"), "{later}");
    process.note_with("read again");
    assert_eq!(online().code, Some(0));

    file.write("open = true\nadmins = 5\n");
    process.signal("HUP");
    let refused = process.note_with("stay as they were");
    assert!(refused.contains("line 2") && refused.contains("admins"), "{refused}");
    assert_eq!(online().code, Some(0), "the last good settings count");

    file.write("open = true\nadmins = []\n[limits]\nconnections = 1\n");
    process.signal("HUP");
    process.note_with("read again");
    let (first, _open) = ask(&address, "");
    assert_eq!((first.as_str(), ask(&address, "").0.as_str()), ("101", "503"), "limits change too");

    file.write("open = true\n[limits]\nconnections = 99000000\n");
    process.signal("HUP");
    process.note_with("open as many files");
    process.note_with("read again");
}

#[cfg(unix)]
#[test]
fn the_counters_are_told_at_any_time() {
    let mut server = Server::start("--trusted-proxy 127.0.0.1 --limits-connections-per-address 1");
    // The greeting is over.
    while !server.process.line().contains("Ctrl-C") {}
    let brought = "X-Forwarded-For: 192.0.2.1\r\n";
    let (_, _open) = ask(server.address(), brought);
    assert_eq!(ask(server.address(), brought).0, "429");
    server.process.signal("USR1");
    let told = server.process.line();
    assert!(told.contains("connections, ") && told.contains("0 users online"), "{told}");
    let counted: Vec<String> =
        std::iter::repeat_with(|| server.process.line()).take_while(|line| !line.contains("by_address")).collect();
    assert!(counted.iter().all(|line| line.starts_with("  ")), "{counted:?}");
}

#[test]
fn an_address_behind_a_trusted_proxy_has_limits_and_this_machine_has_none() {
    let flags = "--limits-connections-per-address 2 --limits-logins-per-address 1";
    let plain = Server::start(flags);
    let proxied = Server::start(&format!("--trusted-proxy 127.0.0.0/8 {flags}"));
    // What stands before the last one he wrote himself.
    let alice = |n| format!("X-Forwarded-For: 198.51.100.{n}, 192.0.2.1\r\n");
    let mut open = Vec::new();
    for (server, expected) in [(&plain, "101"), (&proxied, "429")] {
        for n in 0..3 {
            let (status, stream) = ask(server.address(), &alice(n));
            assert_eq!(status, if n < 2 { "101" } else { expected });
            open.push(stream);
        }
        assert_eq!(ask(server.address(), "X-Forwarded-For: 192.0.2.2\r\n").0, "101", "another has room");
        assert_eq!(ask(server.address(), "").0, "101", "and so has this machine");
    }
    // A client on this machine logs in as often as it likes.
    for _ in 0..3 {
        proxied.run("bob", "ping").fine();
    }
}

/// A row of what bad input gets: more connections than descriptors.
#[cfg(target_os = "linux")]
#[test]
fn more_connections_than_descriptors_harm_nobody_who_is_there() {
    let mut shell = Command::new("sh");
    let esf = env!("CARGO_BIN_EXE_esf");
    shell.args(["-c", &format!("ulimit -n 64; exec {esf} serve --open --listen 127.0.0.1:0 --log warn")]);
    let mut process = Esf::spawn(shell, "esf serve with 64 descriptors".into());
    let warned = process.note_with("open as many files");
    assert!(warned.contains("descriptors=64") && warned.contains("100064"), "{warned}");
    let line = process.line();
    let url = line.strip_prefix("listening on ").unwrap().to_owned();
    let address = url.strip_prefix("ws://").unwrap().to_owned();
    let mut alice = Esf::start("listen --user alice", &["--url", &url]);
    assert_eq!(alice.line(), "ready");
    let mut bob = Esf::start("chat --user bob --with alice", &["--url", &url]);
    bob.note_with("connected as");

    // The system accepts more than the server can.
    let crowd: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&address).unwrap()).collect();
    process.note_with("cannot accept connections; those that are open live on");
    let began = cpu_ticks(&process);
    for n in 0..10 {
        bob.type_line(&format!("line {n}"));
        assert_eq!(alice.line(), format!("message from bob, type 1: line {n}"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let spent = cpu_ticks(&process) - began;
    assert!(spent < 50, "half a second of a second: it spins ({spent} ticks)");

    drop(crowd);
    let late = Esf::run("ping --user carol", &["--url", &url]);
    assert_eq!(late.code, Some(0), "{late:?}");
    process.signal("TERM");
    let ended = process.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let again = ended.stderr.iter().filter(|line| line.contains("cannot accept")).count();
    assert_eq!(again, 0, "once a minute is enough: {:?}", ended.stderr);
    assert!(ended.stdout.iter().any(|line| line.trim().starts_with("accept_errors ")), "{:?}", ended.stdout);
}

/// Processor time of a process, in hundredths of a second.
#[cfg(target_os = "linux")]
fn cpu_ticks(process: &Esf) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn beyond_this_machine_a_server_warns_and_names_a_proxy_with_tls() {
    let directory = std::env::temp_dir().join(format!("esf-{}-public", std::process::id()));
    let data = directory.to_str().unwrap();
    for (listen, warns) in [("127.0.0.1:0", false), ("0.0.0.0:0", true)] {
        let line = format!("serve --log warn --limits-connections 10 --listen {listen} --data {data}");
        let mut process = Esf::start(&line, &[]);
        while !process.line().starts_with("listening on") {}
        process.signal("TERM");
        let ended = process.ended();
        let warned =
            ended.stderr.iter().any(|line| line.contains("unencrypted") && line.contains("caddy reverse-proxy"));
        assert_eq!(warned, warns, "{listen}: {:?}", ended.stderr);
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_log_has_the_address_of_a_login_good_or_bad() {
    let directory = std::env::temp_dir().join(format!("esf-{}-log", std::process::id()));
    let line = format!("serve --listen 127.0.0.1:0 --data {}", directory.to_str().unwrap());
    let mut process = Esf::start(&line, &[]);
    let url = loop {
        if let Some(url) = process.line().strip_prefix("listening on ") {
            break url.to_owned();
        }
    };
    let mut stranger = Esf::command("ping --user nobody");
    stranger.args(["--url", &url]).env("ESF_PASSWORD", "a guess");
    assert_eq!(Esf::spawn(stranger, "esf ping".into()).ended().code, Some(4));
    let refused = process.note_with("login refused");
    assert!(refused.contains("user=nobody") && refused.contains("address=127.0.0.1"), "{refused}");
    drop(process);
    fs::remove_dir_all(directory).unwrap();

    let mut open = Server::start_on("127.0.0.1:0", "--log info");
    open.run("alice", "ping").fine();
    let logged_in = open.process.note_with("logged in");
    assert!(logged_in.contains("address=127.0.0.1"), "{logged_in}");
}
