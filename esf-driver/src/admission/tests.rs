use std::{net::IpAddr, time::Duration};

use esf_proto::time::Instant;

use super::{addresses::HALF, *};

const START: Instant = Instant::from_micros(1_000_000);

fn key(text: &str) -> AddressKey {
    AddressKey::of(text.parse().unwrap())
}

fn after(seconds: u64) -> Instant {
    START + Duration::from_secs(seconds)
}

#[test]
fn an_ipv6_address_stands_for_its_64_and_a_mapped_one_for_its_ipv4() {
    assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
    assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
}

#[test]
fn an_address_has_so_many_connections_and_gets_them_back() {
    let limits = Limits { connections_per_address: 2, ..Limits::default() };
    let mut addresses = Addresses::default();
    let (alice, bob) = (key("192.0.2.1"), key("192.0.2.2"));
    assert!(addresses.connect(&limits, alice) && addresses.connect(&limits, alice));
    assert!(!addresses.connect(&limits, alice));
    assert!(addresses.connect(&limits, bob), "another is not held up");
    addresses.disconnect(alice);
    assert!(addresses.connect(&limits, alice));
    assert!(!addresses.connect(&limits, alice), "what was refused was not counted");
    for gone in [alice, alice, bob] {
        addresses.disconnect(gone);
    }
    assert_eq!(addresses.connected(), 0, "nothing is kept of who is gone");
}

#[test]
fn zero_is_no_limit() {
    let limits =
        Limits { connections_per_address: 0, logins_per_address: 0, pre_queries_per_address: 0, ..Limits::default() };
    let mut addresses = Addresses::default();
    for _ in 0..5000 {
        assert!(addresses.connect(&limits, key("192.0.2.1")));
        assert_eq!(addresses.login(START, &limits, key("192.0.2.1")), Ok(()));
        assert_eq!(addresses.pre_query(START, &limits, key("192.0.2.1")), Ok(()));
    }
    assert_eq!(addresses.remembered(), 0);
}

#[test]
fn a_minutes_worth_may_come_at_once_and_then_one_at_a_time() {
    let limits = Limits { logins_per_address: 6, ..Limits::default() };
    let mut addresses = Addresses::default();
    let alice = key("192.0.2.1");
    for _ in 0..6 {
        assert_eq!(addresses.login(START, &limits, alice), Ok(()));
    }
    assert_eq!(addresses.login(START, &limits, alice), Err(Duration::from_secs(10)));
    assert_eq!(addresses.login(after(4), &limits, alice), Err(Duration::from_secs(6)), "a refusal costs nothing");
    assert_eq!(addresses.login(after(10), &limits, alice), Ok(()));
    assert_eq!(addresses.login(after(10), &limits, alice), Err(Duration::from_secs(10)));
    assert_eq!(addresses.login(after(10), &limits, key("192.0.2.2")), Ok(()), "another is not held up");
    assert_eq!(addresses.pre_query(after(10), &limits, alice), Ok(()), "and something else is counted apart");
    for _ in 0..6 {
        assert_eq!(addresses.login(after(90), &limits, alice), Ok(()), "after a quiet minute it is as new");
    }
    assert!(addresses.login(after(90), &limits, alice).is_err());
}

#[test]
fn a_limit_that_changes_counts_from_now_on() {
    let mut addresses = Addresses::default();
    let alice = key("192.0.2.1");
    let [few, many] = [2, 60].map(|logins_per_address| Limits { logins_per_address, ..Limits::default() });
    assert!(addresses.login(START, &few, alice).is_ok() && addresses.login(START, &few, alice).is_ok());
    assert!(addresses.login(START, &few, alice).is_err());
    assert_eq!(addresses.login(after(1), &many, alice), Ok(()));
    assert!(addresses.login(after(1), &few, alice).is_err());
}

#[test]
fn a_flood_from_very_many_addresses_is_remembered_in_bounded_room() {
    let limits = Limits { logins_per_address: 1, ..Limits::default() };
    let mut addresses = Addresses::default();
    let nth = |n: usize| key(&IpAddr::V4(u32::try_from(n).unwrap().into()).to_string());
    for n in 0..5 * HALF {
        assert_eq!(addresses.login(START, &limits, nth(n)), Ok(()));
        assert!(addresses.remembered() <= 2 * HALF, "{}", addresses.remembered());
    }
    let last = 5 * HALF - 1;
    assert!(addresses.login(START, &limits, nth(last)).is_err(), "the latest are known");
    assert!(addresses.login(START, &limits, nth(last - HALF)).is_err());
    assert!(addresses.login(START, &limits, nth(0)).is_ok(), "the earliest are forgotten");
    // When their minute is over they are no more than an address that never came.
    for n in 0..HALF {
        assert_eq!(addresses.login(after(61), &limits, nth(n)), Ok(()));
    }
    assert!(addresses.remembered() <= 2 * HALF);
}

#[test]
fn one_who_goes_on_trying_is_not_forgotten_in_the_flood() {
    let limits = Limits { logins_per_address: 1, ..Limits::default() };
    let mut addresses = Addresses::default();
    let alice = key("2001:db8::1");
    assert!(addresses.login(START, &limits, alice).is_ok());
    for n in 0..3 * HALF {
        let other = AddressKey::V6(u64::try_from(n).unwrap());
        assert!(addresses.login(START, &limits, other).is_ok());
        if n % 1000 == 0 {
            assert!(addresses.login(START, &limits, alice).is_err(), "after {n}");
        }
    }
}

#[test]
fn a_network_has_the_addresses_of_its_prefix() {
    let network = |text: &str| text.parse::<Network>().unwrap();
    for (range, inside, outside) in [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("192.0.2.128/25", "192.0.2.200", "192.0.2.127"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("0.0.0.0/0", "203.0.113.9", "::1"),
        ("fd00::/8", "fd12::1", "fe00::1"),
        ("::1", "::1", "::2"),
        ("::/0", "2001:db8::1", "192.0.2.1"),
        ("127.0.0.0/8", "::ffff:127.0.0.1", "::ffff:128.0.0.1"),
    ] {
        assert!(network(range).contains(inside.parse().unwrap()), "{inside} is in {range}");
        assert!(!network(range).contains(outside.parse().unwrap()), "{outside} is not in {range}");
        assert_eq!(network(&network(range).to_string()), network(range));
    }
    for text in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "::/129", "example.org", "10.0.0.0/8/8"] {
        let told = text.parse::<Network>().unwrap_err().to_string();
        assert!(told.contains(&format!("`{text}`")), "{told}");
    }
}
