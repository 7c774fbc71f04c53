use super::Lines;

const REPORT: &str = "\
SF:/src/esf-proto/src/hub/mod.rs
DA:1,5
DA:2,0
DA:3,1
end_of_record
SF:/src/esf-proto/src/hub/tests.rs
DA:1,0
end_of_record
SF:/src/esf-proto/src/server/tests/blobs.rs
DA:1,0
end_of_record
SF:/src/esf-driver/src/lib.rs
DA:1,0
end_of_record
SF:/src/esf-proto/src/time.rs
DA:9,2
end_of_record
";

#[test]
fn lines_of_the_core_are_counted_and_tests_are_not() {
    let lines = Lines::read(REPORT);
    assert_eq!((lines.count(), lines.percent()), (4, 75.0));
}

#[test]
fn what_did_not_run_is_listed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let listed = Lines::read(REPORT).missed(&folder);
    let text = std::fs::read_to_string(folder.join("esf-proto/src/hub/mod.rs")).unwrap();
    let second = text.lines().nth(1).unwrap();
    assert_eq!(listed, format!("esf-proto/src/hub/mod.rs: 1 of 3 lines did not run\n     2  {second}\n"));
}
