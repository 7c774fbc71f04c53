use std::string::String;

use super::*;

fn of_bytes(count: usize) -> String {
    "ü".repeat(count / 2) + &"x".repeat(count % 2)
}

#[test]
fn a_group_has_an_id_of_1_to_255_bytes() {
    assert_eq!(GroupId::parse(""), Err(GroupIdError::Empty));
    assert_eq!(GroupId::parse(&of_bytes(256)), Err(GroupIdError::TooLong));
    for id in ["g", "_staff", "~dance", "a b\n", &of_bytes(255)] {
        assert_eq!(GroupId::parse(id).as_ref().map(GroupId::as_str), Ok(id));
    }
}

#[test]
fn only_what_starts_with_a_tilde_is_a_dynamic_group() {
    let dynamic = |id| GroupId::parse(id).map(|id| id.is_dynamic());
    assert_eq!(dynamic("~"), Ok(true));
    assert_eq!(dynamic("~dance"), Ok(true));
    assert_eq!(dynamic("dance~"), Ok(false));
}
