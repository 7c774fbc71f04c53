//! What docs/ARCHITECTURE.md says of the size of the crates.

use std::{fs, io, path::Path};

const PAGE: &str = include_str!("../../docs/ARCHITECTURE.md");
/// An adapter has no more lines.
const ADAPTER: usize = 450;

#[test]
fn adapters_are_thin_and_the_page_says_how_large_each_crate_is() -> io::Result<()> {
    let rows = PAGE.lines().filter_map(|line| {
        let (name, lines) = line.strip_prefix("| `esf-")?.strip_suffix(" |")?.split_once("` | ")?;
        Some((name, lines.replace(',', "").parse::<usize>().ok()?))
    });
    let rows: Vec<(&str, usize)> = rows.collect();
    assert!(rows.len() >= 4, "{rows:?}");
    for (name, stated) in rows {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../esf-{name}/src"));
        let counted = lines(&folder)?;
        // A page that were wrong at every commit would be no use.
        assert!(stated.abs_diff(counted) * 4 <= counted, "esf-{name} has {counted} lines, the page says {stated}");
        if !["proto", "driver"].contains(&name) {
            assert!(counted <= ADAPTER, "esf-{name} has {counted} lines, an adapter {ADAPTER} at most");
        }
    }
    Ok(())
}

/// What is locked in another way is not among what the search through interleavings tries.
#[test]
fn the_driver_takes_its_locks_and_atomics_from_one_place() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../esf-driver/src");
    let mut elsewhere = Vec::new();
    each_file(&folder, &mut |path, text| {
        let name = path.strip_prefix(&folder).unwrap_or(path).display().to_string().replace('\\', "/");
        // Only for tests of others, and the place itself.
        if ["memory.rs", "sync.rs", "testing.rs"].contains(&name.as_str()) {
            return;
        }
        let imports = text.split("\nuse std::").skip(1).filter_map(|rest| rest.split(';').next());
        let locks = ["Mutex", "RwLock", "Condvar", "AtomicBool", "AtomicU", "Barrier", "mpsc"];
        if imports.into_iter().any(|import| locks.iter().any(|lock| import.contains(lock))) {
            elsewhere.push(name);
        }
    })?;
    assert!(elsewhere.is_empty(), "these do not go by crate::sync: {elsewhere:?}");
    Ok(())
}

/// The lines of all Rust files below a folder that are no tests.
fn lines(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    each_file(folder, &mut |_, text| count += text.lines().count())?;
    Ok(count)
}

/// Every Rust file below a folder that has no tests.
fn each_file(folder: &Path, visit: &mut impl FnMut(&Path, &str)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            each_file(&path, visit)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path, &fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
