//! Files from one terminal to another.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::esf::{Esf, Server};

/// A directory of the test's own, which goes with it.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("blobs-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A file with these bytes.
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.0.join(name), bytes).unwrap();
        self.path(name)
    }

    /// The names in a directory of it, in order.
    fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(dir)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Waits until these are the names in a directory of it.
    #[track_caller]
    fn until(&self, dir: &str, names: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.names(dir) != names {
            assert!(Instant::now() < deadline, "not {names:?} but {:?}", self.names(dir));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes that do not repeat in any piece of a blob.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(len)
    .collect()
}

/// Bob, who takes files into the directory `in`.
fn bob(server: &Server, dir: &Dir, flags: &str) -> Esf {
    server.listener("bob", &format!("--blobs {} {flags}", dir.path("in")))
}

fn blob(server: &Server, file: &str, flags: &str) -> Esf {
    server.user("alice", &format!("blob --to bob --type 3 {flags} {file}"))
}

#[test]
fn a_file_arrives_whole_under_its_name() {
    let (server, dir) = (Server::start(""), Dir::new());
    let mut bob = bob(&server, &dir, "");
    let bytes = noise(5_000_001);
    let file = dir.file("report.bin", &bytes);
    assert!(blob(&server, &file, "").ended().fine().is_empty(), "no progress bar where there is no terminal");
    let there = dir.path("in/report.bin");
    assert_eq!(bob.line(), format!("blob from alice, type 3: 5000001 bytes in {there}"));
    assert!(fs::read(there).unwrap() == bytes, "every byte is the same");
}

#[test]
fn a_file_is_told_as_json() {
    let (server, dir) = (Server::start(""), Dir::new());
    let mut bob = bob(&server, &dir, "--json --count 1");
    let file = dir.file("a \"b\".txt", b"hello");
    // The name has a space in it, which the words of a line have not.
    let sent = Esf::start("blob --to bob --type 3", &["--url", &server.url, "--user", "alice", &file]).ended();
    sent.fine();
    let line: serde_json::Value = serde_json::from_str(&bob.line()).unwrap();
    let there = dir.path("in/a _b_.txt");
    let wanted = serde_json::json!({
        "event": "blob", "from": "alice", "type": 3, "name": "a \"b\".txt", "bytes": 5, "file": there
    });
    assert_eq!(line, wanted);
    bob.ended().fine();
}

#[test]
fn a_file_goes_to_a_group_and_whoever_is_in_it_sees_where_it_came_from() {
    let (server, dir) = (Server::start(""), Dir::new());
    let bytes = noise(1_000_001);
    let file = dir.file("plan.bin", &bytes);
    // As many devices as are members of it, but not the sender's own.
    let mut alice = server.listener("alice", &format!("--join ~red --blobs {}", dir.path("mine")));
    let mut bob = bob(&server, &dir, "--join ~red");
    let carol_takes = format!("--join ~red --json --count 1 --blobs {}", dir.path("carol"));
    let mut carol = server.listener("carol", &carol_takes);
    let mut dan = server.listener("dan", &format!("--blobs {}", dir.path("dan")));
    server.run("alice", &format!("blob --group ~red {file}")).fine();
    assert_eq!(bob.line(), format!("blob in ~red from alice, type 1: 1000001 bytes in {}", dir.path("in/plan.bin")));
    let told: serde_json::Value = serde_json::from_str(&carol.line()).unwrap();
    assert_eq!((&told["event"], &told["group"], &told["type"]), (&"blob".into(), &"~red".into(), &1.into()));
    carol.ended().fine_with_notes();
    for there in ["in/plan.bin", "carol/plan.bin"] {
        assert!(fs::read(dir.path(there)).unwrap() == bytes, "{there}");
    }
    // Whoever takes no files holds up nobody.
    let _eve = server.listener("eve", "--join ~red");
    server.run("alice", &format!("blob --group ~red --type 9 {file}")).fine();
    assert_eq!(bob.line(), format!("blob in ~red from alice, type 9: 1000001 bytes in {}", dir.path("in/plan-1.bin")));
    server.run("bob", &format!("blob --to dan {file}")).fine();
    assert_eq!(dan.line(), format!("blob from bob, type 1: 1000001 bytes in {}", dir.path("dan/plan.bin")));
    assert!(dir.names("mine").is_empty() && alice.line_within(Duration::from_millis(200)).is_none());
}

#[test]
fn a_file_to_a_group_that_takes_none_or_is_not_ones_own_says_why() {
    let (server, dir) = (Server::start(""), Dir::new());
    let file = dir.file("f.txt", b"f");
    let stranger = server.run("alice", &format!("blob --group ~red {file}"));
    assert!(stranger.refused(7).contains("you are not in the group ~red"), "{stranger:#?}");
    let _alice = server.listener("alice", "--join ~red");
    server.run("alice", &format!("blob --group ~red {file}")).fine();
    let mut bob = server.listener("bob", "--join ~red");
    let refused = server.run("alice", &format!("blob --group ~red {file}"));
    assert!(refused.refused(23).contains("the group ~red takes no files; `--blobs DIR`"), "{refused:#?}");
    assert!(bob.note().contains("f.txt was refused, from alice"));
    for whom in ["", "--to bob --group ~red"] {
        assert_eq!(server.run("alice", &format!("blob {whom} {file}")).code, Some(2), "{whom}");
    }
}

#[test]
fn what_comes_through_a_pipe_arrives() {
    let (server, dir) = (Server::start(""), Dir::new());
    let mut bob = bob(&server, &dir, "");
    let bytes = noise(700_000);
    let mut alice = blob(&server, "-", "--name piped");
    for piece in bytes.chunks(100_000) {
        alice.feed(piece);
    }
    alice.end_of_input();
    alice.ended().fine();
    assert!(bob.line().contains("700000 bytes"));
    assert!(fs::read(dir.path("in/piped")).unwrap() == bytes);
}

#[test]
fn an_empty_file_arrives_and_its_sender_hears_that_it_is_empty() {
    let (server, dir) = (Server::start(""), Dir::new());
    let mut bob = bob(&server, &dir, "");
    let ended = blob(&server, &dir.file("nothing", b""), "").ended();
    assert!(ended.refused(0).contains("nothing is empty"), "{ended:#?}");
    assert!(bob.line().contains("0 bytes"));
    assert_eq!(dir.names("in"), ["nothing"]);
}

#[test]
fn a_name_leaves_the_directory_by_no_way_and_overwrites_nothing() {
    let (server, dir) = (Server::start(""), Dir::new());
    let _bob = bob(&server, &dir, "");
    fs::write(dir.path("in/x.txt"), "mine").unwrap();
    let file = dir.file("f", b"theirs");
    for name in ["../x.txt", "/x.txt", ".x.txt"] {
        blob(&server, &file, &format!("--name {name}")).ended().fine();
    }
    assert_eq!(dir.names("in"), ["x-1.txt", "x-2.txt", "x-3.txt", "x.txt"]);
    assert_eq!(fs::read_to_string(dir.path("in/x.txt")).unwrap(), "mine");
    assert_eq!(dir.names(""), ["f", "in"]);
}

#[test]
fn what_cannot_be_sent_says_why() {
    let (server, dir) = (Server::start(""), Dir::new());
    let missing = blob(&server, &dir.path("missing"), "").ended();
    assert!(missing.refused(22).contains("there is no such file; check the path"), "{missing:#?}");
    let directory = blob(&server, &dir.path(""), "").ended();
    assert!(directory.refused(22).contains("is a directory; pack it"), "{directory:#?}");
    let long = blob(&server, &dir.file("f", b"f"), &format!("--name {}", "x".repeat(1025))).ended();
    assert_eq!(long.code, Some(2), "{long:#?}");
    let nobody = blob(&server, &dir.path("f"), "").ended();
    assert!(nobody.refused(5).contains("bob is offline"), "{nobody:#?}");
}

#[test]
fn whoever_takes_no_files_refuses_them_and_both_hear_how_to_change_that() {
    let (server, dir) = (Server::start(""), Dir::new());
    let mut bob = server.listener("bob", "");
    let ended = blob(&server, &dir.file("f.txt", b"f"), "").ended();
    assert!(ended.refused(23).contains("bob takes no files; `--blobs DIR`"), "{ended:#?}");
    assert!(bob.note().contains("f.txt was refused, from alice: `--blobs DIR` takes files"));
}

#[test]
fn a_directory_that_cannot_be_one_is_refused_at_the_start() {
    let (server, dir) = (Server::start(""), Dir::new());
    let file = dir.file("f", b"f");
    let ended = server.run("bob", &format!("listen --blobs {file}"));
    assert!(ended.refused(22).contains("cannot take files"), "{ended:#?}");
}

#[test]
fn a_sender_who_stops_leaves_nothing_at_the_receiver() {
    let (server, dir) = (Server::start(""), Dir::new());
    let mut bob = bob(&server, &dir, "");
    let mut alice = blob(&server, "-", "--name half.txt");
    alice.feed(&noise(100_000));
    dir.until("in", &["half.txt.part"]);
    alice.signal("INT");
    assert_eq!(alice.ended().code, Some(130));
    assert!(bob.note().contains("half.txt was not received, from alice: its sender stopped"));
    dir.until("in", &[]);
}

#[test]
fn a_file_that_is_cut_off_while_it_is_sent_is_told_and_leaves_nothing() {
    let (server, dir) = (Server::start(""), Dir::new());
    let mut bob = bob(&server, &dir, "");
    // The file is long until the first part of it is read.
    let file = dir.file("long", &[]);
    fs::File::options().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
    let alice = blob(&server, &file, "");
    dir.until("in", &["long.part"]);
    fs::File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    let ended = alice.ended();
    assert!(ended.refused(22).contains("it ended after"), "{ended:#?}");
    assert!(bob.note().contains("long was not received"));
    dir.until("in", &[]);
}

#[test]
fn a_receiver_who_leaves_in_the_middle_is_told_to_the_sender() {
    let (server, dir) = (Server::start(""), Dir::new());
    let bob = bob(&server, &dir, "");
    let mut alice = blob(&server, "-", "--name half.txt");
    alice.feed(&noise(100_000));
    dir.until("in", &["half.txt.part"]);
    bob.signal("TERM");
    assert_eq!(bob.ended().code, Some(0));
    let ended = alice.ended();
    assert!(matches!(ended.code, Some(5 | 11)), "{ended:#?}");
    dir.until("in", &[]);
}

#[test]
fn a_blob_goes_on_after_the_server_was_killed_and_started_again() {
    let (server, dir) = (Server::start(""), Dir::new());
    let address = server.address().to_owned();
    let mut bob = bob(&server, &dir, "");
    let bytes = noise(3_000_000);
    let mut alice = blob(&server, "-", "--name long.bin");
    alice.feed(&bytes[..1_500_000]);
    dir.until("in", &["long.bin.part"]);
    server.process.kill();
    let _server = Server::start_on(&address, "--log off");
    alice.note_with("connected again");
    alice.feed(&bytes[1_500_000..]);
    alice.end_of_input();
    assert_eq!(alice.ended().code, Some(0));
    assert!(bob.line().contains("3000000 bytes"));
    assert!(fs::read(dir.path("in/long.bin")).unwrap() == bytes, "every byte is the same, and none is there twice");
    assert_eq!(dir.names("in"), ["long.bin"]);
}

/// A shell line that starts a listener on a disk with room for one megabyte: a small tmpfs where it may be mounted, else
/// a limit on the size of a file, which fails in the same place.
fn on_a_small_disk(dir: &str) -> (bool, String) {
    let mount = format!("mount -t tmpfs -o size=1m tmpfs {dir}");
    let namespace = ["unshare -m", "unshare -rm"].into_iter().find(|unshare| {
        let probe = Command::new("sh").args(["-c", &format!("{unshare} sh -c '{mount}'")]).output();
        probe.is_ok_and(|probe| probe.status.success())
    });
    match namespace {
        Some(unshare) => (true, format!("exec {unshare} sh -c '{mount} && exec \"$0\" \"$@\"' \"$0\" \"$@\"")),
        // In blocks of 512 bytes. The signal is ignored, as a service manager would have it.
        None => (false, "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"".to_owned()),
    }
}

#[test]
fn a_full_disk_is_told_to_the_sender_and_the_listener_goes_on() {
    let (server, dir) = (Server::start(""), Dir::new());
    fs::create_dir(dir.path("in")).unwrap();
    let (mounted, line) = on_a_small_disk(&dir.path("in"));
    let mut command = Command::new("sh");
    command.args(["-c", &line, env!("CARGO_BIN_EXE_esf"), "listen", "--user", "bob"]);
    command.args(["--url", &server.url, "--blobs", &dir.path("in")]);
    let mut bob = Esf::spawn(command, "esf listen on a small disk".into());
    assert_eq!(bob.line(), "ready");

    let large = dir.file("large", &noise(3_000_000));
    let ended = blob(&server, &large, "").ended();
    assert!(ended.refused(24).contains("bob has no room for it"), "{ended:#?}");
    assert!(bob.note().contains("large was not received, from alice: it cannot be written"));
    // It fits only where the half one is gone.
    let small = dir.file("small", &noise(900_000));
    blob(&server, &small, "").ended().fine();
    assert!(bob.line().contains("900000 bytes"));
    if !mounted {
        assert_eq!(dir.names("in"), ["small"]);
    }
}

#[test]
fn files_go_both_ways_in_a_chat_between_the_lines() {
    let (server, dir) = (Server::start(""), Dir::new());
    let chat = |user: &str, with: &str| {
        let mut chat = server.user(user, &format!("chat --with {with} --blobs {}", dir.path(&format!("of-{user}"))));
        chat.note_with("connected as");
        chat
    };
    let (mut alice, mut bob) = (chat("alice", "bob"), chat("bob", "alice"));
    let bytes = noise(1_000_000);
    let file = dir.file("from alice.bin", &bytes);
    alice.type_line(&format!("/blob {file}"));
    let there = dir.path("of-bob/from alice.bin");
    assert_eq!(bob.line(), format!("alice sent a file of 977 KiB: {there}"));
    assert!(fs::read(there).unwrap() == bytes);
    assert!(alice.note_with("is with bob").contains("from alice.bin is with bob: 977 KiB in"));
    bob.type_line(&format!("/blob {}", dir.file("small", b"x")));
    assert!(alice.line().starts_with("bob sent a file of 1 B"));
    alice.type_line("/blobs are no files");
    assert_eq!(bob.line(), "alice: /blobs are no files");
    alice.type_line("/blob");
    assert!(alice.note().contains("name a file, as in `/blob report.pdf`"));
    alice.type_line(&format!("/blob {}", dir.path("missing")));
    assert!(alice.note().contains("there is no such file"));
    alice.end_of_input();
    assert_eq!(alice.ended().code, Some(22), "the last that was not delivered");
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_shows_how_far_it_is() {
    let (server, dir) = (Server::start(""), Dir::new());
    let mut bob = bob(&server, &dir, "");
    let file = dir.file("film.bin", &noise(2_000_000));
    let esf = env!("CARGO_BIN_EXE_esf");
    let url = &server.url;
    // The file goes through a pipe that is slow in the middle, so that there is something to see.
    let line = format!(
        "(head -c 1000000 {file}; sleep 1; tail -c 1000000 {file}) | {esf} blob --url {url} --user alice --to bob --type 3 --name film.bin -"
    );
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]);
    let shown = Esf::spawn(command, line).ended();
    assert!(bob.line().contains("2000000 bytes"));
    let text = shown.stdout.join("\n");
    assert_eq!(shown.code, Some(0), "{text}");
    assert!(text.contains("film.bin") && text.contains("KiB/s"), "{text:?}");
    assert!(text.contains("film.bin is with bob: 1.91 MiB in"), "{text:?}");
}
