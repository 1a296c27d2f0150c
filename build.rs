//! One option for the linker: relative relocations are packed, where the glibc that the program is built with reads them (2.36 and newer). The
//! loader reads the list of all pointers to which it adds the program's address at each start, and it stays in memory; packed it is a twentieth of
//! its size.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if is_read_by(glibc().as_deref().unwrap_or_default()) {
        // A linker that does not know it says so, and goes on.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
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
