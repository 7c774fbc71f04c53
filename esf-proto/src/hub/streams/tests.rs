//! Who is away; what a blob does to its receivers is seen in the tests of the server and of pairs.

use crate::{
    ids::DeviceKind,
    server::{
        Config,
        testing::{Town, engine, phone},
    },
};

#[test]
fn an_engine_is_away_by_itself_and_not_for_another_of_its_user() {
    let mut town = Town::new(Config::default());
    let (phone, tablet) = (phone("ann"), engine("ann", DeviceKind(9), 70));
    let cell = town.join(&phone);
    town.join(&tablet);
    assert!(!town.hub.is_away(&phone));
    town.detach(&cell);
    assert!(town.hub.is_away(&phone));
    assert!(!town.hub.is_away(&tablet), "another device");
    assert!(!town.hub.is_away(&engine("ann", phone.device, 70)), "another life on a device of that kind");
    assert!(!town.hub.is_away(&engine("ann", DeviceKind(8), phone.instance.0)), "no device at all");
    assert!(!town.hub.is_away(&engine("ben", phone.device, phone.instance.0)), "nobody");
}
