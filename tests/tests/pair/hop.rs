//! One hop, cut at every place: whatever was delivered before the cut, each frame arrives once and in order. What the
//! delivery model's `hop` explores with abstract frames, here with the real machines at both ends.

use std::time::Duration;

use esf_proto::{client::Event, ids::MessageId};
use esf_tests::world::{Outcome, Who, World, user};

const LONG: Duration = Duration::from_secs(290);
/// More items than the script puts on a link in one direction.
const ITEMS: usize = 14;

/// How a link ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Both ends learn of it at once.
    Both,
    /// The client gives it up; the server learns from the next login that it is old.
    Client,
    /// The client gives it up, and what was under way on it arrives when the next link is there.
    ClientAndLate,
    /// The server gives it up; the client learns by the silence.
    Server,
}

/// Anna and Ben talk in both directions; Anna's link is the one that is cut.
struct Script {
    world: World,
    anna: Who,
    ben: Who,
    certain: Vec<(Who, MessageId)>,
    queries: Vec<(Who, MessageId)>,
}

impl Script {
    /// Everything is said; on Anna's link so many items pass in each direction and the rest stays under way.
    fn play(up: usize, down: usize) -> Self {
        let mut world = World::new();
        let (anna, ben) = (world.join("anna"), world.join("ben"));
        world.advance(Duration::from_secs(1));
        let link = world.link(anna);
        (link.pass_up, link.pass_down) = (Some(up), Some(down));
        let mut script = Self { world, anna, ben, certain: Vec::new(), queries: Vec::new() };
        script.say();
        script.world.run();
        script
    }

    fn say(&mut self) {
        let Self { world, anna, ben, .. } = self;
        let (anna, ben) = (*anna, *ben);
        for round in ["1", "2"] {
            world.send(anna, "ben", &format!("a{round} plain"));
            self.certain.push((anna, world.send_certainly_to(anna, &user("ben"), &format!("a{round} certain"), LONG)));
            self.queries.push((anna, world.query_to(anna, &user("ben"), "?", LONG)));
            world.send(ben, "anna", &format!("b{round} plain"));
            self.certain.push((ben, world.send_certainly_to(ben, &user("anna"), &format!("b{round} certain"), LONG)));
            self.queries.push((ben, world.query_to(ben, &user("anna"), "?", LONG)));
        }
    }

    fn end(&mut self, end: End) {
        let Self { world, anna, .. } = self;
        match end {
            End::Both => world.cut(*anna),
            End::Client | End::ClientAndLate => world.give_up(*anna),
            End::Server => world.server_gives_up(*anna),
        }
    }

    fn settle(&mut self, end: End) {
        let Self { world, anna, .. } = self;
        if let End::Server = end {
            // The link is silent from now on; the client gives it up 10 s after a heartbeat.
            world.advance(Duration::from_secs(16));
        }
        world.until_online(*anna);
        if let End::ClientAndLate = end {
            world.older_link(*anna).pass_up = None;
        }
        world.advance(Duration::from_secs(2));
    }

    /// Everything arrived once, in order, and has its one outcome.
    fn assert_exact(&mut self, case: &str) {
        let Self { world, anna, ben, certain, queries } = self;
        let said = |name: &str| {
            let round = |round| [format!("{name}{round} plain"), format!("{name}{round} certain")];
            [1, 2].into_iter().flat_map(round).collect::<Vec<String>>()
        };
        assert_eq!(world.texts(*ben), said("a"), "{case}");
        assert_eq!(world.texts(*anna), said("b"), "{case}");
        for (who, id) in certain.iter() {
            assert_eq!(world.outcome(*who, *id), Some(Outcome::Acked), "{case}: {who:?} {id:?}");
        }
        for (who, id) in queries.iter() {
            assert_eq!(world.outcome(*who, *id), Some(Outcome::Replied("?".into())), "{case}: {who:?} {id:?}");
        }
        for who in [*anna, *ben] {
            let asked = world.engine(who).events.iter().filter(|event| matches!(event, Event::Query(_))).count();
            let stats = world.session(who).stats();
            let surprises = (stats.duplicates, stats.late, stats.violations, stats.answers_unasked);
            assert_eq!((asked, surprises), (2, (0, 0, 0, 0)), "{case}: {who:?}");
        }
        // A resume is exact: nobody needs to be told the same twice, nothing goes astray on the server.
        assert_eq!(world.counter("logins"), 2, "{case}: no needless fresh login");
        assert_eq!(world.counter("answers_unasked"), 0, "{case}");
    }
}

#[test]
fn cut_once_at_every_place_by_either_side() {
    for end in [End::Both, End::Client, End::ClientAndLate, End::Server] {
        for up in 0..ITEMS {
            for down in 0..ITEMS {
                let mut script = Script::play(up, down);
                script.end(end);
                script.settle(end);
                script.assert_exact(&format!("{end:?} after {up} up, {down} down"));
            }
        }
    }
}

#[test]
fn cut_again_at_every_place_of_the_next_login_and_replay() {
    for (up, down) in [(0, 0), (3, 0), (0, 3), (2, 5), (5, 2), (ITEMS, 1), (1, ITEMS)] {
        for again_up in 0..9 {
            for again_down in 0..9 {
                for end in [End::Both, End::ClientAndLate] {
                    let mut script = Script::play(up, down);
                    script.world.engine(script.anna).next_pass = Some((again_up, again_down));
                    script.end(End::Both);
                    // The next link comes up within the first wait, and stands still somewhere in its login or replay.
                    script.world.advance(Duration::from_millis(250));
                    script.end(end);
                    script.settle(end);
                    script
                        .assert_exact(&format!("{up} up, {down} down; then {again_up} up, {again_down} down, {end:?}"));
                }
            }
        }
    }
}

#[test]
fn the_server_dies_at_every_place() {
    for up in 0..ITEMS {
        for down in 0..ITEMS {
            let case = format!("after {up} up, {down} down");
            let mut script = Script::play(up, down);
            script.world.restart_server();
            script.world.until_online(script.anna);
            script.world.until_online(script.ben);
            script.world.advance(Duration::from_secs(300));
            let Script { world, anna, ben, certain, queries } = &mut script;
            for (at, label) in [(*ben, "a"), (*anna, "b")] {
                let texts = world.texts(at);
                let mut sorted = texts.clone();
                sorted.sort_by_key(|text| (text.as_bytes()[1], text.ends_with("certain")));
                sorted.dedup();
                assert_eq!(texts, sorted, "{case}: once each, in order");
                for (round, (_, id)) in certain.iter().filter(|(who, _)| *who != at).enumerate() {
                    let sender = if at == *ben { *anna } else { *ben };
                    let outcome = world.outcome(sender, *id);
                    assert!(outcome.is_some(), "{case}: {label}{round}");
                    if outcome == Some(Outcome::Acked) {
                        assert!(texts.contains(&format!("{label}{} certain", round + 1)), "{case}: {texts:?}");
                    }
                }
            }
            for (who, id) in queries.iter() {
                assert!(world.outcome(*who, *id).is_some(), "{case}: {who:?} {id:?}");
            }
        }
    }
}

#[test]
fn many_messages_survive_cuts_at_odd_moments() {
    // More than the count's 128 frames and the window's bytes are under way when each cut comes.
    let mut world = World::new();
    let (anna, ben) = (world.join("anna"), world.join("ben"));
    let mut sent = Vec::new();
    for round in 0..20 {
        for number in 0..150 {
            let text = format!("{round}/{number}: {}", "x".repeat(number * 13));
            world.send(anna, "ben", &text);
            sent.push(text);
        }
        let (up, down) = (round * 7 % 40, round * 3 % 10);
        let who = if round % 2 == 0 { anna } else { ben };
        let link = world.link(who);
        (link.pass_up, link.pass_down) = (Some(up), Some(down));
        world.advance(Duration::from_millis(round as u64 * 13));
        world.cut(who);
        world.until_online(who);
    }
    world.advance(Duration::from_secs(5));
    assert_eq!(world.texts(ben), sent);
    assert_eq!((world.counter("logins"), world.counter("resumes")), (2, 20));
}
