use super::{Report, Row, median, percentile, short};

#[test]
fn the_median_is_the_one_in_the_middle() {
    assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
    assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), 3.0);
}

#[test]
fn of_a_hundred_values_99_are_under_the_last() {
    let values: Vec<u32> = (1..=100).collect();
    assert_eq!([500, 990, 999].map(|part| percentile(&values, part)), [51.0, 100.0, 100.0]);
    assert!(percentile(&[], 500).is_nan());
}

#[test]
fn numbers_are_short_enough_to_read() {
    assert_eq!([1_234_567.8, 999.94, 12.0, 0.0042, 0.0].map(short), ["1,234,568", "999.9", "12.0", "0.004", "0.0"]);
}

#[test]
fn a_row_says_whether_its_target_is_reached() {
    let mut report = Report { results: vec![Row::new("relay/64B/16", 7.0, "msg/s").beside(10.0)], ..Report::default() };
    assert!(report.table().contains(">= 0.6 of the limit: reached"), "{}", report.table());
    report.results.push(Row::new("peer/nats-server/64B/16", 8.0, "msg/s"));
    assert!(report.table().contains("and > nats-server: MISSED"), "{}", report.table());
    report.results[0] = Row::new("relay/64B/16", 5.0, "msg/s").beside(10.0);
    assert!(report.table().contains("MISSED"), "{}", report.table());
}

#[test]
fn the_json_has_the_keys_that_are_promised() {
    let row = Row::new("relay/64B/16", 6.0, "msg/s").beside(8.0).costing(0.5);
    let report = Report { machine: "m".into(), results: vec![row], ..Report::default() };
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(
        json,
        r#"{"machine":"m","results":[{"name":"relay/64B/16","value":6.0,"unit":"msg/s","limit":8.0,"ratio":0.75,"server_cpu_us":0.5}]}"#
    );
}
