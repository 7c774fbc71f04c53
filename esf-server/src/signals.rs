//! The signals that ask a process to end, or a server to do something meanwhile.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;

/// Ctrl-C, and SIGTERM where there is one. While it exists, they do not end the process by themselves.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Exit> {
        Self::register().map_err(|error| unwaitable(&error))
    }

    #[cfg(unix)]
    fn register() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    fn register() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next one.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for the next one.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// What a server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To end.
    Stop,
    /// SIGHUP: to read its settings again.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no such signal"))]
    Reload,
    /// SIGUSR1: to tell what it has counted.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no such signal"))]
    Tell,
}

/// The signals of a server.
pub(crate) struct ServerSignals {
    stop: Signals,
    #[cfg(unix)]
    hang_up: Signal,
    #[cfg(unix)]
    user: Signal,
}

impl ServerSignals {
    pub(crate) fn new() -> Result<Self, Exit> {
        let stop = Signals::new()?;
        #[cfg(unix)]
        let other = |kind| signal(kind).map_err(|error| unwaitable(&error));
        Ok(Self {
            stop,
            #[cfg(unix)]
            hang_up: other(SignalKind::hangup())?,
            #[cfg(unix)]
            user: other(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next one.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            () = self.stop.next() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
            _ = self.user.recv() => Asked::Tell,
        }
    }

    /// Waits for the next one.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> Asked {
        self.stop.next().await;
        Asked::Stop
    }

    /// Waits until it is asked to end.
    pub(crate) async fn stop(&mut self) {
        self.stop.next().await;
    }
}

fn unwaitable(error: &io::Error) -> Exit {
    Exit::internal(format!("signals cannot be waited for: {error}"))
}
