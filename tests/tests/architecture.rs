//! What docs/ARCHITECTURE.md says of the size of the parts, and of what adapters have in common.
#![expect(clippy::print_stdout, reason = "the table is printed for the page")]

use std::{fs, io, path::Path};

const PAGE: &str = include_str!("../../docs/ARCHITECTURE.md");
/// What the page measures: the core, the driver with the parts of it that one kind of adapter uses, the adapters.
const PARTS: [&str; 6] = ["esf-proto", "esf-driver", "esf-driver/src/blocking", "esf-tokio", "esf-smol", "esf-sync"];
/// An adapter has no more lines, comments included.
const ADAPTER: usize = 450;

/// Lines of Rust. Empty ones are none.
#[derive(Debug, Default, Clone, Copy)]
struct Lines {
    code: usize,
    comments: usize,
    tests: usize,
}

#[test]
fn adapters_are_thin_and_the_page_says_how_large_each_part_is() -> io::Result<()> {
    let mut counted = Vec::new();
    println!("| part | code | comments | tests |\n|---|---|---|---|");
    for part in PARTS {
        let mut lines = Lines::default();
        count(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(part), &mut lines)?;
        let Lines { code, comments, tests } = lines;
        println!("| `{part}` | {code} | {comments} | {tests} |");
        counted.push((part, lines));
    }
    for (part, lines) in counted {
        let stated = stated(part).unwrap_or_else(|| panic!("the page has no row for {part}"));
        // A page that were wrong at every commit would be no use.
        let near = |stated: usize, counted: usize| stated.abs_diff(counted) * 4 <= counted.max(100);
        let right = near(stated.code, lines.code) && near(stated.comments, lines.comments);
        assert!(right && near(stated.tests, lines.tests), "{part} has {lines:?}, the page says {stated:?}");
        if !["esf-proto", "esf-driver"].iter().any(|thick| part.starts_with(thick)) {
            assert!(lines.code + lines.comments <= ADAPTER, "{part} has {lines:?}, an adapter {ADAPTER} at most");
        }
    }
    Ok(())
}

/// The row of the page.
fn stated(part: &str) -> Option<Lines> {
    let row = PAGE.lines().find_map(|line| line.strip_prefix(&format!("| `{part}` | "))?.strip_suffix(" |"))?;
    let mut numbers = row.split(" | ").map(|number| number.replace(',', "").parse().ok());
    Some(Lines { code: numbers.next()??, comments: numbers.next()??, tests: numbers.next()?? })
}

/// Counts all Rust files below a folder.
fn count(folder: &Path, lines: &mut Lines) -> io::Result<()> {
    each_file(folder, false, &mut |_, in_tests, text| {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let kind = if in_tests {
                &mut lines.tests
            } else if line.starts_with("//") {
                &mut lines.comments
            } else {
                &mut lines.code
            };
            *kind += 1;
        }
    })
}

/// Every Rust file below a folder, and whether it has tests: those in a folder `tests`, or of that name, have.
fn each_file(folder: &Path, in_tests: bool, visit: &mut impl FnMut(&Path, bool, &str)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let in_tests = in_tests || path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing");
        if path.is_dir() {
            each_file(&path, in_tests, visit)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path, in_tests, &fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// What is locked in another way is not among what the search through interleavings tries.
#[test]
fn the_driver_takes_its_locks_and_atomics_from_one_place() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../esf-driver/src");
    let mut elsewhere = Vec::new();
    each_file(&folder, false, &mut |path, in_tests, text| {
        let name = path.strip_prefix(&folder).unwrap_or(path).display().to_string().replace('\\', "/");
        // Only for tests of others, and the place itself.
        if in_tests || ["memory.rs", "sync.rs"].contains(&name.as_str()) {
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

/// The files of a handle where calls are futures, and the one where they block.
const HANDLES: [(&[&str], &str); 4] = [
    (&["client.rs", "client/builder.rs", "client/calls.rs", "client/blobs.rs"], "client.rs"),
    (&["server.rs", "server/builder.rs", "server/accept.rs", "server/sends.rs"], "server.rs"),
    (&["handler.rs"], "handler.rs"),
    (&["blob/incoming.rs", "blob/outgoing.rs", "blob/reader.rs", "blob/file.rs"], "blob.rs"),
];
/// Methods of types that both share.
const SHARED: [&str; 2] = ["counter", "failure"];
/// An iterator's or, for a blob, a method's own.
const NEXT: &str = "next";

#[test]
fn calls_that_block_have_the_names_of_those_that_do_not() -> io::Result<()> {
    for (waking, blocking) in HANDLES {
        let blocking = methods(&format!("blocking/{blocking}"))?;
        for file in waking {
            for method in methods(file)? {
                let known = blocking.contains(&method) || SHARED.contains(&method.as_str()) || method == NEXT;
                assert!(known, "`{method}` of {file} is not there where calls block");
            }
        }
    }
    Ok(())
}

/// The public methods of a file of the driver, by name.
fn methods(file: &str) -> io::Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../esf-driver/src").join(file);
    let text = fs::read_to_string(path)?;
    let names = text.lines().filter_map(|line| {
        let line = line.strip_prefix("    pub ")?;
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
        Some(name.split(['(', '<']).next()?.to_owned())
    });
    let names: Vec<String> = names.collect();
    assert!(!names.is_empty(), "{file} has no methods");
    Ok(names)
}

#[test]
fn nothing_on_threads_reads_with_a_timeout() -> io::Result<()> {
    for folder in ["esf-sync/src", "esf-driver/src/blocking"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let polls = path.is_file() && fs::read_to_string(&path)?.contains("set_read_timeout");
            assert!(!polls, "{} polls its streams", path.display());
        }
    }
    Ok(())
}
