//! `esf serve` in a mount namespace of its own, with its data directory on a small file system.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

/// Makes the file system, the accounts and a pair of contacts, and becomes the server.
const START: &str = r#"
set -e
mount -t tmpfs -o size=2m none "$1"
for name in ann ben cleo dan eve; do ESF_PASSWORD="$name!" "$0" user add "$name" --data "$1" >&2; done
"$0" contact add ann cleo --data "$1" >&2
exec "$0" serve --log info --listen 127.0.0.1:0 --data "$1"
"#;

/// Why no file system can be mounted here, if that is so.
pub(crate) fn cannot_mount() -> Option<String> {
    let folder = std::env::temp_dir();
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none"]).arg(folder);
    match unshare.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => None,
        Ok(_) => Some("unshare cannot mount a file system here".into()),
        Err(error) => Some(format!("unshare cannot be run here: {error}")),
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    data: PathBuf,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let data = std::env::temp_dir().join(format!("esf-disk-{}", std::process::id()));
        fs::create_dir_all(&data).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", START, env!("CARGO_BIN_EXE_esf")]).arg(&data);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ESF_")) {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (stderr, lines) = (child.stderr.take().unwrap(), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut server = Self { child, url: String::new(), data, log };
        let url = stdout.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        server.url = url.unwrap_or_else(|| panic!("no server: {:#?}", server.log.lock().unwrap()));
        std::thread::spawn(move || stdout.for_each(drop));
        server
    }

    /// A file on its file system, as it is seen from here.
    fn filler(&self) -> PathBuf {
        let data = self.data.strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.child.id())).join(data).join("filler")
    }

    /// Leaves no room on the disk.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        for size in [64 * 1024, 1024, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// How many lines of the log have this in them.
    pub(crate) fn told(&self, part: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(part)).count()
    }

    /// Lines of the log that are warnings or worse.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.contains(" WARN ") || line.contains("ERROR")).cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; its file system goes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir(&self.data);
    }
}
