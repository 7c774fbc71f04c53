use super::{BEGIN, END, civil, merged, write};
use crate::report::{Report, Row};

fn report(name: &str, value: f64) -> Report {
    Report {
        machine: "a machine".into(),
        command: "cargo xtask bench".into(),
        date: "2026-01-02".into(),
        results: vec![Row::new(name, value, "msg/s")],
        ..Report::default()
    }
}

#[test]
fn only_what_stands_between_the_marks_is_replaced() {
    let root = std::env::temp_dir().join(format!("esf-bench-page-{}", std::process::id()));
    std::fs::create_dir_all(root.join("docs")).unwrap();
    let page = root.join("docs/PERFORMANCE.md");
    std::fs::write(&page, format!("before\n{BEGIN}\nold\n{END}\nafter\n")).unwrap();
    let reports = [report("relay/64B/16", 7.0), report("idle/64B", 9000.0)];
    for _ in 0..2 {
        write(&root, &reports).unwrap();
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(
            text.starts_with(&format!("before\n{BEGIN}\n")) && text.ends_with(&format!("{END}\nafter\n")),
            "{text}"
        );
        assert!(!text.contains("old"), "{text}");
        for wanted in ["### Relay", "relay/64B/16", "### Idle", "MISSED", "2026-01-02", "a machine"] {
            assert_eq!(text.matches(wanted).count().min(1), 1, "{wanted} in {text}");
        }
        assert!(!text.contains("### Blobs"), "{text}");
    }
    assert!(std::fs::read_to_string(root.join("docs/performance.svg")).unwrap().ends_with("</svg>\n"));
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn of_two_results_with_one_name_the_later_counts() {
    let whole = merged(&[report("a", 1.0), report("b", 2.0), report("a", 3.0)]);
    let values: Vec<(&str, f64)> = whole.results.iter().map(|row| (row.name.as_str(), row.value)).collect();
    assert_eq!(values, [("a", 3.0), ("b", 2.0)]);
}

#[test]
fn days_have_their_dates() {
    assert_eq!(civil(0), (1970, 1, 1));
    assert_eq!(civil(19_782), (2024, 2, 29));
    assert_eq!(civil(20_778), (2026, 11, 21));
}
