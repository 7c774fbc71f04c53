//! How fast ESF is, beside the limits of the machine and beside its peers: what `cargo xtask bench` runs.
//!
//! The parts: [`load`] is the generator, a process of its own that speaks every protocol by prebuilt bytes; [`serve`] are small servers of the library, [`limits`]
//! are the servers that do nothing but the transport, [`peers`] those that others wrote; [`subject`] starts what is measured; a module for each of the
//! benches ([`relay`], [`query`], [`idle`], [`blob`], [`storm`], [`crowd`], [`stored`], [`core_path`]) says what is measured and how; [`report`] is what comes out, and [`page`] writes it into the documentation.
#![expect(clippy::print_stderr, reason = "each run is told while it is made")]

pub mod blob;
pub mod core_path;
pub mod crowd;
pub mod idle;
pub mod latency;
pub mod limits;
pub mod link;
pub mod load;
pub mod machine;
pub mod page;
pub mod peers;
pub mod plot;
pub mod process;
pub mod query;
pub mod relay;
pub mod report;
pub mod serve;
pub mod soak;
pub mod stored;
pub mod storm;
pub mod subject;
pub mod wire;

/// What went wrong, in words for the person who ran it.
pub type Problem = Box<dyn std::error::Error + Send + Sync>;

/// How the benches are run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Runs of each measurement, of which the median counts.
    pub runs: usize,
    /// How long one of them measures, and how long it warms up before.
    pub measure: std::time::Duration,
    /// See [`Plan::measure`].
    pub warm_up: std::time::Duration,
    /// The `esf` binary; without it a server of the same library is started.
    pub esf: Option<std::path::PathBuf>,
    /// Whether other servers are measured beside.
    pub peers: bool,
    /// Pairs that relay.
    pub pairs: usize,
    /// Connections that are idle.
    pub idle: usize,
    /// How long they are idle before their memory is looked at.
    pub rest: std::time::Duration,
    /// Connections that ask queries.
    pub askers: usize,
    /// Bytes of the blob after which the server's memory is looked at.
    pub large_blob: u64,
    /// Clients that come back at once.
    pub clients: usize,
    /// Users online while the core's path is measured.
    pub users: usize,
    /// Messages through the core's path.
    pub messages: usize,
    /// Whether their instructions are counted.
    pub instructions: bool,
}
