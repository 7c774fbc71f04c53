use super::*;

fn no_heap() -> (usize, usize) {
    (0, 0)
}

#[test]
fn every_member_gets_each_broadcast() {
    let cost = broadcast(Broadcasting { members: 300, broadcasts: 40, together: 4 }, no_heap);
    assert_eq!(cost.map(|cost| cost.deliveries).map_err(|problem| problem.to_string()), Ok(300 * 40));
}

#[test]
fn a_storm_is_heard_of_as_one_who_comes_and_goes_at_most_once_a_second() {
    let met = meeting(Meeting { users: 200, contacts: 10, storm: 10 }, no_heap).expect("a meeting");
    assert_eq!(met.updates, 200 * 10);
    assert!(met.flaps > 200 && met.storm_updates > 200, "{met:?}");
    assert_eq!(met.most, 1, "{met:?}");
}
