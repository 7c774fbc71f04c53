use std::{format, vec::Vec};

use super::*;

fn name(name: &str) -> UserId {
    UserId::parse(name, 64).unwrap()
}

fn names() -> Names {
    Names::new(SipKeys(1, 2))
}

#[test]
fn a_name_is_kept_once_for_all_who_know_it() {
    let mut names = names();
    let (ann, ben) = (names.share([name("cleo"), name("dan")]), names.share([name("dan"), name("eve")]));
    assert_eq!(ann.as_ref(), [name("cleo"), name("dan")]);
    assert_eq!(ben.as_ref(), [name("dan"), name("eve")]);
    assert_eq!(ann[1].as_str().as_ptr(), ben[0].as_str().as_ptr());
}

#[test]
fn names_that_nobody_has_any_more_go() {
    let mut names = names();
    let kept = names.share((0..10).map(|number| name(&format!("kept{number}"))));
    for number in 0..LEAST * 10 {
        let _ = names.share([name(&format!("gone{number}"))]);
        assert!(names.len() <= LEAST, "{}", names.len());
    }
    let again = names.share((0..10).map(|number| name(&format!("kept{number}"))));
    let place = |names: &Arc<[UserId]>| names.iter().map(|name| name.as_str().as_ptr()).collect::<Vec<_>>();
    assert_eq!(place(&kept), place(&again), "those that somebody has stay");
}
