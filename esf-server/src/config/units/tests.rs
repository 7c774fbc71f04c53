use serde_json::json;

use super::*;

fn size(value: serde_json::Value) -> Result<u64, String> {
    serde_json::from_value::<Size>(value).map(|size| size.0).map_err(|error| error.to_string())
}

fn time(value: serde_json::Value) -> Result<Duration, String> {
    serde_json::from_value::<Time>(value).map(|time| time.0).map_err(|error| error.to_string())
}

#[test]
fn a_size_is_a_number_of_bytes_or_has_a_unit() {
    for (value, bytes) in [
        (json!(4096), 4096),
        (json!("4096"), 4096),
        (json!("4096 B"), 4096),
        (json!("64KiB"), 65_536),
        (json!(" 2 mib "), 2 << 20),
        (json!("1 GiB"), 1 << 30),
        (json!(0), 0),
    ] {
        assert_eq!(size(value.clone()), Ok(bytes), "{value}");
    }
    for value in [json!("4 MB"), json!("MiB"), json!(""), json!("1.5 MiB"), json!("-1"), json!("99999999999 GiB")] {
        assert!(size(value.clone()).unwrap_err().contains("a size such as \"64 KiB\""), "{value}");
    }
    assert!(size(json!(-1)).is_err() && size(json!(true)).is_err());
}

#[test]
fn a_time_is_a_number_of_seconds_or_has_a_unit() {
    for (value, millis) in [
        (json!(30), 30_000),
        (json!("30"), 30_000),
        (json!("500ms"), 500),
        (json!("5 min"), 300_000),
        (json!("1 h"), 3_600_000),
    ] {
        assert_eq!(time(value.clone()), Ok(Duration::from_millis(millis)), "{value}");
    }
    for value in [json!("5 minutes"), json!("s"), json!("1.5 s"), json!("99999999999999999 h"), json!(u64::MAX)] {
        assert!(time(value.clone()).unwrap_err().contains("a time such as"), "{value}");
    }
}

#[test]
fn what_is_written_is_read_as_the_same() {
    for (bytes, text) in [(0, "0 B"), (1000, "1000 B"), (1 << 20, "1 MiB"), ((1 << 20) + 1024, "1025 KiB")] {
        assert_eq!(Size(bytes).to_string(), text);
        assert_eq!(size(json!(text)), Ok(bytes));
    }
    for (millis, text) in [(0, "0 ms"), (1500, "1500 ms"), (60_000, "1 min"), (90_000, "90 s"), (7_200_000, "2 h")] {
        let duration = Duration::from_millis(millis);
        assert_eq!(Time(duration).to_string(), text);
        assert_eq!(time(json!(text)), Ok(duration));
    }
}
