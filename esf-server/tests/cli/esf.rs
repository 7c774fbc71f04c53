//! A running `esf`, read line by line. Every wait has an end, and no process outlives its test.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

/// Far longer than anything takes, and shorter than anybody's patience.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `esf`. It is killed when it goes out of scope.
pub(crate) struct Esf {
    title: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
}

/// How a process ended, with what it had still to say.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Esf {
    /// Starts `esf` with the words of `line`, and then `more` as they are.
    pub(crate) fn start(line: &str, more: &[&str]) -> Self {
        let mut command = Self::command(line);
        command.args(more);
        Self::spawn(command, format!("esf {line}"))
    }

    /// `esf` with the words of `line`, to be spawned. It sees nothing of this process's own settings.
    pub(crate) fn command(line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esf"));
        command.args(line.split_whitespace());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ESF_")) {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn spawn(mut command: Command, title: String) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self { title, child, stdin, stdout, stderr }
    }

    /// Starts `esf` and waits for its end.
    pub(crate) fn run(line: &str, more: &[&str]) -> Ended {
        Self::start(line, more).ended()
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        self.stdout.next().unwrap_or_else(|silence| self.fail("a line of standard output", silence))
    }

    /// The next line of standard output, if it comes within this time.
    pub(crate) fn line_within(&mut self, time: Duration) -> Option<String> {
        self.stdout.next_before(Instant::now() + time).ok()
    }

    /// The next line of standard error.
    pub(crate) fn note(&mut self) -> String {
        self.stderr.next().unwrap_or_else(|silence| self.fail("a line of standard error", silence))
    }

    /// Reads standard error up to the line that has `part` in it.
    pub(crate) fn note_with(&mut self, part: &str) -> String {
        loop {
            let note = self.note();
            if note.contains(part) {
                return note;
            }
        }
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    /// Types a line that it may not want to read.
    pub(crate) fn offer_line(&mut self, line: &str) {
        // It may have ended already.
        let _ = writeln!(self.stdin.as_mut().unwrap(), "{line}");
    }

    /// Puts bytes into standard input, as they are.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Nothing more will be typed.
    pub(crate) fn end_of_input(&mut self) {
        self.stdin = None;
    }

    /// Nobody reads standard output any more.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout.stop();
    }

    /// Nobody reads standard error any more.
    pub(crate) fn close_stderr(&mut self) {
        self.stderr.stop();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status().unwrap();
        assert!(sent.success(), "{}: no signal {name}", self.title);
    }

    /// Kills it, so that it can say nothing more to anybody.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(mut self) -> Ended {
        let stdout = self.stdout.rest().unwrap_or_else(|silence| self.fail("the end of standard output", silence));
        let stderr = self.stderr.rest().unwrap_or_else(|silence| self.fail("the end of standard error", silence));
        // Both of its outputs are closed, so it is about to end.
        let status: ExitStatus = self.child.wait().unwrap();
        Ended { code: status.code(), stdout, stderr }
    }

    fn fail(&mut self, what: &str, silence: Silence) -> ! {
        let seen = (&self.stdout.seen, self.stderr.drained());
        panic!("`{}`: no {what} ({silence:?}); standard output and error so far: {seen:#?}", self.title)
    }
}

impl Drop for Esf {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Asserts the exit code, and gives the one line of standard error.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let [line] = self.stderr.as_slice() else { panic!("not one line: {self:#?}") };
        line
    }

    /// Asserts success, and gives standard output.
    #[track_caller]
    pub(crate) fn fine_with_notes(self) -> Vec<String> {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// Asserts success without a complaint, and gives standard output.
    #[track_caller]
    pub(crate) fn fine(self) -> Vec<String> {
        assert_eq!((self.code, &self.stderr), (Some(0), &Vec::new()), "{self:#?}");
        self.stdout
    }
}

/// Why there is no line.
#[derive(Debug, Clone, Copy)]
enum Silence {
    Closed,
    TooLong,
}

/// The lines of an output, read by a thread.
struct Lines {
    coming: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn of(output: impl Read + Send + 'static) -> Self {
        let (send, coming) = channel();
        std::thread::spawn(move || {
            // Ends, and closes the output, at the first line that nobody wants to know.
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { coming, seen: Vec::new() }
    }

    fn next(&mut self) -> Result<String, Silence> {
        self.next_before(Instant::now() + PATIENCE)
    }

    fn next_before(&mut self, deadline: Instant) -> Result<String, Silence> {
        let line = self.coming.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let line = line.map_err(|error| match error {
            RecvTimeoutError::Disconnected => Silence::Closed,
            RecvTimeoutError::Timeout => Silence::TooLong,
        })?;
        self.seen.push(line.clone());
        Ok(line)
    }

    /// All lines until the end.
    fn rest(&mut self) -> Result<Vec<String>, Silence> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        loop {
            match self.next_before(deadline) {
                Ok(line) => lines.push(line),
                Err(Silence::Closed) => return Ok(lines),
                Err(silence) => return Err(silence),
            }
        }
    }

    fn drained(&mut self) -> &[String] {
        self.seen.extend(self.coming.try_iter());
        &self.seen
    }

    fn stop(&mut self) {
        self.coming = channel().1;
    }
}

/// A server of the test's own.
pub(crate) struct Server {
    pub(crate) process: Esf,
    /// Where it is, as `--url` takes it.
    pub(crate) url: String,
}

impl Server {
    /// Starts a server, open to all, on a free port, that logs nothing.
    pub(crate) fn start(flags: &str) -> Self {
        Self::start_on("127.0.0.1:0", &format!("--log off {flags}"))
    }

    pub(crate) fn start_on(address: &str, flags: &str) -> Self {
        let mut process = Esf::start(&format!("serve --open --listen {address} {flags}"), &[]);
        let line = process.line();
        let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("not where it listens: {line}"));
        Self { url: url.to_owned(), process }
    }

    /// Starts `esf` with the words of `line` as `user` of this server.
    pub(crate) fn user(&self, user: &str, line: &str) -> Esf {
        Esf::start(line, &["--url", &self.url, "--user", user])
    }

    /// Starts `esf` with the words of `line` as `user` of this server, and waits for its end.
    pub(crate) fn run(&self, user: &str, line: &str) -> Ended {
        self.user(user, line).ended()
    }

    /// A user who listens and is ready.
    pub(crate) fn listener(&self, user: &str, flags: &str) -> Esf {
        let mut listener = self.user(user, &format!("listen {flags}"));
        let first = listener.line();
        assert!(first.contains("ready"), "{user} is not ready: {first}");
        listener
    }

    /// The address without the scheme.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("ws://").unwrap()
    }
}
