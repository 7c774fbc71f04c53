//! File descriptors: each connection needs one.

/// Those that are no connections: listener, log, store, the runtime's own.
const OTHERS: u64 = 64;

/// Raises the limit of this process as far as it may, and warns if that is too low for so many connections (0: any
/// number).
#[cfg(unix)]
pub(super) fn raise(connections: usize) {
    use tracing::{debug, warn};

    let descriptors = match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(descriptors) => descriptors,
        Err(error) => {
            warn!(%error, "the limit of open files cannot be raised");
            return;
        }
    };
    debug!(descriptors, "open files that this process may have");
    if let Some(enough) = too_few(descriptors, connections) {
        warn!(
            descriptors,
            connections,
            "this process may not open as many files as limits.connections needs: raise the limit (ulimit -Hn, or \
             LimitNOFILE of a systemd unit) to {}, or set limits.connections to {enough}",
            OTHERS.saturating_add(connections as u64),
        );
    }
}

#[cfg(not(unix))]
pub(super) fn raise(_connections: usize) {}

/// The connections that there are descriptors for, if those are too few.
#[cfg_attr(not(unix), expect(dead_code, reason = "there is no such limit"))]
fn too_few(descriptors: u64, connections: usize) -> Option<u64> {
    let enough = descriptors.saturating_sub(OTHERS);
    (connections as u64 > enough).then_some(enough)
}

#[cfg(test)]
mod tests;
