//! `esf serve` on a data directory and an address that stay.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rusqlite::Connection;

/// A data directory with accounts, which goes with it, and where its server listens.
pub(crate) struct Data {
    path: PathBuf,
    address: SocketAddr,
}

/// A running server.
pub(crate) struct Server(Child);

pub(crate) fn password(name: &str) -> String {
    format!("{name}!")
}

impl Data {
    pub(crate) fn with(people: &[&str]) -> Self {
        let path = std::env::temp_dir().join(format!("esf-kill-{}", std::process::id()));
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let data = Self { path, address };
        for name in people {
            let mut add = data.esf(&["user", "add", name]);
            add.env("ESF_PASSWORD", password(name)).stdout(Stdio::null());
            assert!(add.status().unwrap().success(), "no account for {name}");
        }
        data
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub(crate) fn serve(&self) -> Server {
        let mut command = self.esf(&["serve", "--log", "error", "--listen", &self.address.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listens = lines.map_while(Result::ok).any(|line| line.starts_with("listening on "));
        let server = Server(child);
        assert!(listens, "the server does not start");
        server
    }

    /// Messages that wait in the store, and those that were handed out too often.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let store = Connection::open(self.path.join("esf.sqlite")).unwrap();
        store.busy_timeout(Duration::from_secs(30)).unwrap();
        let count =
            |dead| store.query_row("SELECT count(*) FROM message WHERE dead = ?1", [dead], |row| row.get(0)).unwrap();
        (count(false), count(true))
    }

    fn esf(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esf"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ESF_")) {
            command.env_remove(name);
        }
        command.args(words).arg("--data").arg(&self.path).stdin(Stdio::null());
        command
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Server {
    /// By SIGKILL: it can say nothing more to anybody.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
