//! Sets the one switch by which the driver takes its locks from the scheduler.

fn main() {
    println!("cargo::rustc-cfg=interleavings");
    // The driver's feature, which is off here: nothing asynchronous is tried.
    println!("cargo::rustc-check-cfg=cfg(feature, values(\"async\"))");
    println!("cargo::rerun-if-changed=build.rs");
}
