use super::*;

#[test]
fn a_connection_needs_a_descriptor_and_the_server_some_of_its_own() {
    assert_eq!(too_few(1024, 960), None);
    assert_eq!(too_few(1024, 961), Some(960));
    assert_eq!(too_few(64, 1), Some(0));
    assert_eq!(too_few(16, 0), None, "no limit is nothing to warn of");
}
