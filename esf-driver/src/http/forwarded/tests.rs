use super::*;

/// Who is behind 10.0.0.0/8 and ::1 by these header lines.
fn behind(header: ForwardedHeader, lines: &[&str]) -> Option<String> {
    let trusted = ["10.0.0.0/8", "::1"].map(|network| network.parse().unwrap());
    let head =
        format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", lines.iter().map(|l| format!("{l}\r\n")).collect::<String>());
    client_behind(head.as_bytes(), header, &trusted).map(|address| address.to_string())
}

#[test]
fn the_last_hop_that_is_no_proxy_of_ours_is_the_client() {
    for (lines, client) in [
        (&["X-Forwarded-For: 192.0.2.1"][..], Some("192.0.2.1")),
        (&["x-forwarded-for:192.0.2.9 ,192.0.2.1 , 10.1.1.1"], Some("192.0.2.1")),
        (&["X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 192.0.2.1, ::1"], Some("192.0.2.1")),
        (&["X-Forwarded-For: 192.0.2.1:5000"], Some("192.0.2.1")),
        (&["X-Forwarded-For: [2001:db8::1]:5000"], Some("2001:db8::1")),
        (&["X-Forwarded-For: [2001:db8::1]"], Some("2001:db8::1")),
        (&["X-Forwarded-For: 2001:db8::1"], Some("2001:db8::1")),
        (&["X-Forwarded-For: ::ffff:192.0.2.1"], Some("192.0.2.1")),
        // Proxies all the way: the first of them asks for itself.
        (&["X-Forwarded-For: 10.0.0.7, 10.0.0.8"], Some("10.0.0.7")),
        (&[], None),
        (&["Forwarded: for=192.0.2.1"], None),
    ] {
        assert_eq!(behind(ForwardedHeader::XForwardedFor, lines).as_deref(), client, "{lines:?}");
    }
}

#[test]
fn a_stranger_cannot_write_himself_another_address() {
    let forged = ["X-Forwarded-For: 198.51.100.7, 10.0.0.1", "X-Forwarded-For: 192.0.2.1"];
    assert_eq!(behind(ForwardedHeader::XForwardedFor, &forged).as_deref(), Some("192.0.2.1"));
    for broken in
        ["192.0.2.1, unknown", "192.0.2.1, ", "192.0.2.1, _hidden", "192.0.2.1, 10.0.0.1.2", "192.0.2.1,\u{ff}"]
    {
        let line = format!("X-Forwarded-For: {broken}");
        assert_eq!(behind(ForwardedHeader::XForwardedFor, &[&line]), None, "{line}");
    }
    let line = "X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.1";
    assert_eq!(behind(ForwardedHeader::XForwardedFor, &[line]).as_deref(), Some("10.0.0.1"), "the last that is known");
}

#[test]
fn the_header_of_the_standard_is_read_if_it_is_the_one_that_counts() {
    for (lines, client) in [
        (&["Forwarded: for=192.0.2.1"][..], Some("192.0.2.1")),
        (&["Forwarded: For=\"[2001:db8::1]:4711\";proto=https"], Some("2001:db8::1")),
        (&["forwarded: for=192.0.2.9, by=10.0.0.2; for=192.0.2.1, for=10.0.0.1"], Some("192.0.2.1")),
        (&["Forwarded: for=192.0.2.1, proto=https"], None),
        (&["X-Forwarded-For: 192.0.2.1"], None),
    ] {
        assert_eq!(behind(ForwardedHeader::Forwarded, lines).as_deref(), client, "{lines:?}");
    }
}

#[test]
fn a_head_that_is_none_names_nobody() {
    assert_eq!(client_behind(b"\0\0\r\n\r\n", ForwardedHeader::XForwardedFor, &[]), None);
}
