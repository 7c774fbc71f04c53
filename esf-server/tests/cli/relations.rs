//! `esf contact` and `esf group`.

use crate::{
    accounts::Data,
    esf::{Ended, Esf},
};

impl Data {
    /// `esf` on it.
    pub(crate) fn run(&self, line: &str) -> Ended {
        Esf::run(line, &["--data", self.path()])
    }
}

#[test]
fn contacts_are_made_listed_and_taken_away() {
    let data = Data::with("contacts", &["alice", "bob", "carol"]);
    assert_eq!(data.run("contact add bob alice").fine(), ["bob and alice are contacts now"]);
    data.run("contact add alice carol").fine();
    assert_eq!(data.run("contact list alice").fine(), ["bob", "carol"]);
    assert_eq!(data.run("contact list bob").fine(), ["alice"]);
    assert_eq!(data.run("contact list carol --json").fine(), [r#"{"name":"alice"}"#]);
    assert!(data.run("contact add alice bob").refused(21).contains("alice and bob are contacts already"));
    assert_eq!(data.run("contact remove alice bob").fine(), ["alice and bob are no contacts any more"]);
    assert!(data.run("contact remove alice bob").refused(20).contains("esf contact list alice"));
    assert_eq!(data.run("contact list bob").fine(), [""; 0]);
    data.run("contact add alice alice").refused(2);
    assert_eq!(data.run("contact add alice _service").code, Some(2));
    data.user("remove carol", "").fine();
    assert_eq!(data.run("contact list alice").fine(), [""; 0], "an account takes its contacts with it");
}

#[test]
fn contacts_need_no_accounts_but_a_slip_is_told() {
    let data = Data::new("no-accounts");
    data.run("contact list alice").refused(19);
    let made = data.run("contact add alice bob");
    assert!(made.stderr.is_empty(), "{made:?}");
    assert_eq!(made.fine(), ["alice and bob are contacts now"]);
    data.user("add alice", "secret").fine();
    let slip = data.run("contact add alice bobb");
    assert_eq!(slip.stderr, ["esf: there is no account bobb yet"]);
    assert_eq!((slip.code, slip.stdout), (Some(0), vec!["alice and bobb are contacts now".to_owned()]));
}

#[test]
fn groups_are_made_filled_listed_and_deleted() {
    let data = Data::with("groups", &["alice", "bob", "carol"]);
    assert_eq!(data.run("group create staff").fine(), ["made the group staff"]);
    data.run("group create dance").fine();
    assert!(data.run("group create staff").refused(21).contains("staff"));
    assert_eq!(data.run("group add staff carol alice").fine(), ["carol is in staff now", "alice is in staff now"]);
    assert!(data.run("group add staff alice").refused(21).contains("alice is in staff already"));
    assert!(data.run("group add stuff alice").refused(20).contains("there is no group stuff"));
    assert_eq!(data.run("group list").fine(), ["dance\t0", "staff\t2"]);
    assert_eq!(data.run("group list staff").fine(), ["alice", "carol"]);
    assert_eq!(data.run("group list --json").fine()[1], r#"{"group":"staff","members":2}"#);
    assert_eq!(data.run("group list staff --json").fine()[0], r#"{"name":"alice"}"#);
    assert_eq!(data.run("group remove staff carol").fine(), ["carol is not in staff any more"]);
    assert!(data.run("group remove staff carol").refused(20).contains("esf group list staff"));
    data.user("remove alice", "").fine();
    assert_eq!(data.run("group list staff").fine(), [""; 0], "an account leaves its groups");
    assert_eq!(data.run("group delete staff").fine(), ["there is no group staff any more"]);
    data.run("group delete staff").refused(20);
    data.run("group list staff").refused(20);
}

#[test]
fn an_id_that_no_group_can_have_is_refused() {
    let data = Data::new("group-ids");
    let dynamic = data.run("group create ~dance");
    assert!(dynamic.code == Some(2) && dynamic.stderr.concat().contains("dynamic"), "{dynamic:?}");
    assert_eq!(data.run(&format!("group create {}", "x".repeat(256))).code, Some(2));
    data.run(&format!("group create {}", "x".repeat(255))).fine();
    assert_eq!(data.run("group add staff").code, Some(2));
}

#[test]
fn ids_and_names_cannot_steer_a_terminal() {
    let data = Data::new("odd-ids");
    Esf::run("group create", &["\u{1b}[2J", "--data", data.path()]).fine();
    assert_eq!(data.run("group list").fine(), ["\\u{1b}[2J\t0"]);
    Esf::run("contact add a", &["b\nc", "--data", data.path()]).fine();
    assert_eq!(data.run("contact list a").fine(), ["b\\nc"]);
    assert_eq!(data.run("contact list a --json").fine(), [r#"{"name":"b\nc"}"#]);
}
