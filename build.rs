//! What the linker is told, for a small program in memory:
//!
//! - Relative relocations are packed, where the glibc that the program is built with reads them (2.36 and newer). The loader reads the list of all pointers
//!   to which it adds the program's address at each start, and it stays in memory; packed it is a twentieth of its size.
//! - In a release, the functions that a worker runs stand together (`src/layout.ld`).

use std::env;
use std::path::Path;
use std::process::Command;

const LAYOUT: &str = "src/layout.ld";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LAYOUT}");
    if is_read_by(glibc().as_deref().unwrap_or_default()) {
        // A linker that does not know it says so, and goes on.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // An image's dependencies are built before the sources are there.
    if variable("PROFILE") == "release" && reads_layouts() && Path::new(LAYOUT).exists() {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}/{LAYOUT}", variable("CARGO_MANIFEST_DIR"));
    }
}

/// Whether it is GNU ld or lld that links, which is what Rust uses on Linux unless it is told otherwise. Others (mold, for one) refuse the script, and with
/// it the build.
fn reads_layouts() -> bool {
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    variable("CARGO_CFG_TARGET_OS") == "linux" && !flags.contains("fuse-ld") && !flags.contains("linker=")
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// What glibc says of itself, such as `glibc 2.36`; nothing where the program is for another machine than this, or for another libc.
fn glibc() -> Option<String> {
    if env::var("HOST") != env::var("TARGET") || env::var("CARGO_CFG_TARGET_ENV").ok()? != "gnu" {
        return None;
    }
    String::from_utf8(Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?.stdout).ok()
}

fn is_read_by(glibc: &str) -> bool {
    let mut numbers = glibc.trim().strip_prefix("glibc ").unwrap_or_default().split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2, 36)
}
