//! The story that README.md tells of groups and of people who are away, as it stands there.

use std::time::{Duration, Instant};

use crate::{
    accounts::Data,
    esf::{Ended, Esf, Server},
};

const README: &str = include_str!("../../../README.md");

/// A command of the story. What README.md has in quotes is one word here, since a line is cut at its spaces.
struct Story<'a> {
    data: &'a Data,
    server: Option<Server>,
}

impl<'a> Story<'a> {
    /// `esf serve --open --data DIR`.
    fn begin(data: &'a Data) -> Self {
        is_told("esf serve --open --data esf-data");
        let mut story = Self { data, server: None };
        story.serve("127.0.0.1:0");
        story
    }

    fn serve(&mut self, address: &str) {
        self.server = Some(Server::start_on(address, &format!("--log off --data {}", self.data.path())));
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// The server is gone from one moment to the next, and another one begins.
    fn kill(&mut self) {
        let address = self.server().address().to_owned();
        self.server.take().unwrap().process.kill();
        self.serve(&address);
    }

    /// A command that acts on the directory.
    fn at_the_server(&self, line: &str) -> Vec<String> {
        is_told(&format!("esf {line}"));
        self.data.run(line).fine()
    }

    /// A command of a client, begun in a terminal.
    fn start(&self, line: &str) -> Esf {
        is_told(&format!("esf {line}"));
        let (words, text) = line.split_once(" \"").map_or((line, None), |(words, text)| (words, Some(text)));
        let words = words.replace('\'', "");
        let more = ["--url", &self.server().url].into_iter().chain(text.map(|text| text.trim_end_matches('"')));
        Esf::start(&words, &more.collect::<Vec<_>>())
    }

    fn run(&self, line: &str) -> Ended {
        self.start(line).ended()
    }
}

fn is_told(line: &str) {
    assert!(README.contains(line), "README.md does not say `{line}`");
}

fn ready(mut listener: Esf) -> Esf {
    assert_eq!(listener.line(), "ready");
    listener
}

#[test]
fn three_people_and_a_group_as_the_readme_tells_it() {
    let data = Data::new("story");
    let mut story = Story::begin(&data);
    assert_eq!(story.at_the_server("group create red"), ["made the group red"]);
    story.at_the_server("group add red alice bob carol");
    let mut alice = story.start("watch --user alice");
    assert_eq!([alice.line(), alice.line()], ["bob\toffline\tred", "carol\toffline\tred"]);
    let mut bob = ready(story.start("listen --user bob --join red"));
    assert_eq!(alice.line(), "bob\tonline\tred");
    let mut carol = ready(story.start("listen --user carol --join red"));
    let came = Instant::now();
    assert_eq!(alice.line(), "carol\tonline\tred");
    assert!(came.elapsed() < Duration::from_secs(5), "within a second, on a machine that is not busy");
    story.run("broadcast --user alice --group red \"tea?\"").fine();
    for listener in [&mut bob, &mut carol] {
        assert_eq!(listener.line(), "broadcast in red from alice, type 1: tea?");
    }
    carol.signal("INT");
    carol.ended().fine_with_notes();
    assert_eq!(alice.line(), "carol\toffline\tred");
    let stored = story.run("send --user bob --to carol --certainly --store \"there was tea\"").fine();
    assert_eq!(stored, ["stored for carol, who is offline"]);
    story.kill();
    bob.note_with("connected again");
    let mut carol = story.start("listen --user carol");
    let lines = [carol.line(), carol.line()];
    let line = lines.iter().find(|line| *line != "ready").unwrap();
    assert!(line.starts_with("message from bob, type 1, stored at 20") && line.ends_with("Z: there was tea"), "{line}");
    carol.signal("INT");
    carol.ended().fine_with_notes();
    // Once, though it is read again.
    let mut carol = ready(story.start("listen --user carol"));
    assert_eq!(carol.line_within(Duration::from_millis(300)), None);

    let mut alice = story.start("chat --user alice --group '~dance'");
    alice.note_with("a line typed here goes to the group ~dance");
    let mut bob = story.start("chat --user bob --group '~dance'");
    bob.note_with("a line typed here goes to the group ~dance");
    assert_eq!(alice.note(), "esf: bob joined ~dance");
    alice.type_line("shall we?");
    assert_eq!(bob.line(), "alice: shall we?");
    bob.end_of_input();
    bob.ended();
    assert_eq!(alice.note(), "esf: bob left ~dance");
}
