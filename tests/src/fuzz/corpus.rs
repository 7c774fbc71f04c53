//! The inputs that are kept in `fuzz/`.
//!
//! `fuzz/seeds/TARGET.txt` and `fuzz/dictionary.txt` are made by [`seeds`](super::seeds). `fuzz/corpus/TARGET.txt` is the
//! least of what fuzzing has found that still reaches all it reached. Both have a line an input: its name and its bytes in
//! hexadecimal digits. `fuzz/regressions/TARGET/NAME` is an input that once failed, as it is.

use std::{fs, io, path::PathBuf};

use super::{TARGETS, Target, dictionary, seeds};
use crate::vectors::Hex;

const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz");

/// Named inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Corpus(pub Vec<(String, Vec<u8>)>);

impl Corpus {
    /// Everything that is kept for a target.
    ///
    /// # Errors
    /// A file cannot be read, or is none of these.
    pub fn of(target: &Target) -> io::Result<Self> {
        let mut all = Self::read(&seeds_file(target))?;
        all.0.extend(Self::read(&corpus_file(target))?.0);
        all.0.extend(regressions(target)?.0);
        Ok(all)
    }

    fn read(path: &PathBuf) -> io::Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text?,
        };
        let lines = text.lines().map(|line| {
            let (name, hex) = line.rsplit_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
            Some((name.to_owned(), Hex::parse(hex)?.0))
        });
        let inputs: Option<Vec<_>> = lines.collect();
        inputs.map(Self).ok_or_else(|| io::Error::other(format!("{}: not hexadecimal digits", path.display())))
    }

    /// The text of a file with these inputs.
    #[must_use]
    pub fn text(&self) -> String {
        let line = |(name, bytes): &(String, Vec<u8>)| {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            if digits.is_empty() { format!("{name}:\n") } else { format!("{name}: {digits}\n") }
        };
        self.0.iter().map(line).collect()
    }
}

/// Where the seeds of a target are.
#[must_use]
pub fn seeds_file(target: &Target) -> PathBuf {
    [FUZZ, "seeds", &format!("{}.txt", target.name)].iter().collect()
}

fn corpus_file(target: &Target) -> PathBuf {
    [FUZZ, "corpus", &format!("{}.txt", target.name)].iter().collect()
}

/// Where the dictionary is.
#[must_use]
pub fn dictionary_file() -> PathBuf {
    [FUZZ, "dictionary.txt"].iter().collect()
}

/// The inputs that once failed.
///
/// # Errors
/// They cannot be read.
pub fn regressions(target: &Target) -> io::Result<Corpus> {
    let folder: PathBuf = [FUZZ, "regressions", target.name].iter().collect();
    if !folder.exists() {
        return Ok(Corpus::default());
    }
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        inputs.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    inputs.sort();
    Ok(Corpus(inputs))
}

/// Writes seeds and dictionary anew.
///
/// # Errors
/// They cannot be written.
pub fn write_seeds() -> io::Result<()> {
    for target in TARGETS {
        let file = seeds_file(target);
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(file, seeds(target.name).text())?;
    }
    fs::write(dictionary_file(), dictionary())
}

/// Writes everything that is kept for a target into a folder, a file an input, as libFuzzer wants it.
///
/// # Errors
/// Something cannot be read or written.
pub fn unpack(target: &Target, folder: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (number, (_, bytes)) in Corpus::of(target)?.0.iter().enumerate() {
        fs::write(format!("{folder}/kept-{number}"), bytes)?;
    }
    Ok(())
}

/// Keeps the inputs in a folder as the corpus of a target, in place of what it was.
///
/// # Errors
/// Something cannot be read or written.
pub fn pack(target: &Target, folder: &str) -> io::Result<()> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        inputs.push(fs::read(entry?.path())?);
    }
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    inputs.dedup();
    let named = inputs.into_iter().enumerate().map(|(number, bytes)| (number.to_string(), bytes)).collect();
    let file = corpus_file(target);
    fs::create_dir_all(file.parent().unwrap_or(&file))?;
    fs::write(file, Corpus(named).text())
}
