//! The log of a server, on standard error. Its level can change while the server runs.

use std::io;

use tracing_subscriber::{EnvFilter, reload};

use crate::config::{Level, Log, LogFormat};

/// Changes what is logged.
pub(super) struct LogControl(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send>);

impl LogControl {
    pub(super) fn set(&self, level: &Level) {
        // It fails only when the log is gone, and then there is nobody to tell.
        let _ = (self.0)(level.filter());
    }
}

/// Starts the log of this process.
pub(super) fn start(settings: &Log) -> LogControl {
    let log = tracing_subscriber::fmt()
        .with_env_filter(settings.level.filter())
        .with_writer(io::stderr)
        .with_ansi(false)
        // It would panic where standard error is closed; a server goes on without a reader of its log.
        .log_internal_errors(false);
    match settings.format {
        LogFormat::Text => {
            let log = log.with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            LogControl(Box::new(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let log = log.json().with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            LogControl(Box::new(move |filter| handle.reload(filter)))
        }
    }
}
