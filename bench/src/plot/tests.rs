use super::{label, svg};
use crate::report::{Report, Row};

#[test]
fn a_row_is_in_the_panel_of_its_messages_only() {
    assert_eq!(label("relay/64B/16", "*/64B/16").as_deref(), Some("ESF"));
    assert_eq!(label("relay/64B/16/coalesced", "*/64B/16").as_deref(), Some("ESF, coalesced"));
    assert_eq!(label("relay/64B/16/threads", "*/64B/16").as_deref(), Some("ESF on threads"));
    assert_eq!(label("relay/64B/16/threads/1000", "*/64B/16"), None);
    assert_eq!(label("peer/nats-server/64B/16", "*/64B/16").as_deref(), Some("nats-server"));
    assert_eq!(label("relay/64B/1", "*/64B/16"), None);
    assert_eq!(label("idle/64KiB", "idle/*").as_deref(), Some("64KiB"));
}

#[test]
fn the_longest_bar_is_the_largest_number() {
    let results = vec![Row::new("relay/64B/16", 50.0, "msg/s"), Row::new("limit/raw-echo/64B/16", 100.0, "msg/s")];
    let plot = svg(&Report { results, ..Report::default() });
    let widths: Vec<&str> = plot
        .lines()
        .filter(|line| line.contains("<rect class"))
        .filter_map(|line| line.split("width=\"").nth(1))
        .collect();
    assert!(widths[0].starts_with("580.0") && widths[1].starts_with("290.0"), "{plot}");
}
