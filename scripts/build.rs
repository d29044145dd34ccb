//! Build script: has the linker put the functions that a serving router runs side by side (`scripts/order`).
//!
//! That is a matter of memory and not of behaviour, so whatever cannot do it goes without.

use std::env;

/// The linker script, from the package's directory.
const ORDER: &str = "scripts/order.ld";

fn main() {
    println!("cargo::rerun-if-changed={ORDER}");
    println!("cargo::rerun-if-changed=scripts/build.rs");
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") && !has_mold() {
        let package = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-T{package}/{ORDER}");
    }
}

fn is(variable: &str, value: &str) -> bool {
    env::var(variable).is_ok_and(|found| found == value)
}

/// Whether the linker is one that knows no such scripts.
fn has_mold() -> bool {
    ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_LINKER"]
        .iter()
        .any(|name| env::var(name).is_ok_and(|found| found.contains("mold")))
}
