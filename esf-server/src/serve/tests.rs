const PAGE: &str = include_str!("../../../docs/CONFIGURATION.md");

/// An operator who sees a counter can look it up.
#[tokio::test]
async fn the_page_explains_every_counter() {
    let server = esf_tokio::server().start().unwrap();
    for (name, _) in server.stats().counters {
        let name = if name.starts_with("closed_") { "closed_…" } else { name };
        assert!(
            PAGE.contains(&format!("\n| `{name}` | ")),
            "docs/CONFIGURATION.md does not explain the counter {name}"
        );
    }
}
