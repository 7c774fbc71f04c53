//! Where the workspace is and which packages it has, as cargo tells it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Problem;

/// The workspace that this program was built in.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) packages: Vec<Package>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) rust_version: Option<String>,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<Package>,
            workspace_root: PathBuf,
        }
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let told = cargo()
            .args(["metadata", "--locked", "--no-deps", "--format-version", "1", "--manifest-path"])
            .arg(manifest)
            .stderr(Stdio::inherit())
            .output()?;
        if !told.status.success() {
            return Err("`cargo metadata --locked` failed; its reason is above".into());
        }
        let metadata: Metadata = serde_json::from_slice(&told.stdout)?;
        Ok(Self { root: metadata.workspace_root, packages: metadata.packages })
    }
}

impl Package {
    /// The folder of the package: where cargo starts its tests.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }
}

/// The cargo that runs this program, so that a toolchain chosen by `+name` stays chosen.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
