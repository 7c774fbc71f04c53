use super::*;

fn people(rows: &[(&str, bool, bool, &[&str])]) -> People {
    let row = |(user, online, contact, groups): &(&str, bool, bool, &[&str])| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        ((*user).to_owned(), Row { online: *online, contact: *contact, groups })
    };
    People { all: rows.iter().map(row).collect(), more: false }
}

#[test]
fn at_first_everybody_and_then_what_changed() {
    let first = people(&[("bob", false, true, &[]), ("carol", true, false, &["red", "~dance"])]);
    assert_eq!(first.changes(None, false), ["bob\toffline\tcontact", "carol\tonline\tred, ~dance"]);
    let second = people(&[("bob", true, true, &["red"])]);
    assert_eq!(second.changes(Some(&first), false), ["carol\tgone\t", "bob\tonline\tcontact, red"]);
    assert!(second.changes(Some(&second), false).is_empty());
    let objects = second.changes(Some(&first), true);
    assert_eq!(objects[0], r#"{"name":"carol","online":null,"contact":false,"groups":[]}"#);
    assert_eq!(objects[1], r#"{"name":"bob","online":true,"contact":true,"groups":["red"]}"#);
}

#[test]
fn a_screen_is_written_line_by_line_and_a_name_cannot_steer_it() {
    let screen = people(&[("bob", true, true, &[]), ("\x1b[2J", false, true, &[])]).screen();
    assert!(!screen.contains("\x1b[2J"));
    assert!(screen.contains("\x1b[3;1H1 of 2 online; Ctrl-C leaves"), "{screen:?}");
    assert!(people(&[]).screen().contains("no contacts and no groupmates yet"));
}

#[test]
fn no_more_than_a_thousand_are_shown() {
    let mut people = People::default();
    for number in 0..=SHOWN {
        people.add(format!("user{number}"), |row| row.contact = true);
    }
    assert!(people.more && people.all.len() == SHOWN);
    assert!(people.screen().contains("there are more"));
}
