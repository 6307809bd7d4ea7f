//! `cargo xtask static`: the program as the image without libraries has it; that it is whole by itself is looked at, and tried.
//!
//! It is linked with glibc: with musl, whose functions for copying and allocating memory are slow, a backup takes twice as long.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use strongroom_tests::binary::BINARY_VARIABLE;

use crate::checkout::{cargo, root};

/// A segment that names the program by which this one is to be started: the dynamic linker.
const PT_INTERP: u32 = 3;

pub(crate) fn run() -> Result<ExitCode> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = cargo()?;
    build.args(["build", "--release", "--locked", "--package", "strongroom", "--target", &target]);
    build.env("RUSTFLAGS", "-C target-feature=+crt-static");
    let is_built = build.status().context("cannot run cargo")?.success();
    ensure!(is_built, "it cannot be built: that needs the static library of glibc, too (libc6-dev)");
    let program = root()?.join("target").join(&target).join("release/strongroom");
    ensure!(!is_dynamic(&program)?, "{} needs a dynamic linker, and is not static", program.display());
    let mut tried = cargo()?;
    tried.args(["test", "--quiet", "--locked", "--package", "strongroom-tests", "--test", "quickstart"]);
    let is_good = tried.env(BINARY_VARIABLE, &program).status().context("cannot run cargo")?.success();
    ensure!(is_good, "{} is static, but does not do what it is to", program.display());
    println!("{} is static, and makes snapshots and restores them", program.display());
    Ok(ExitCode::SUCCESS)
}

fn is_dynamic(program: &Path) -> Result<bool> {
    let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let segments = segments(&bytes).with_context(|| format!("{} is no program", program.display()))?;
    Ok(segments.contains(&PT_INTERP))
}

/// The kinds of the segments of a 64-bit program, by its header (System V ABI, chapter 5); `None` where it is none.
fn segments(elf: &[u8]) -> Option<Vec<u32>> {
    // ELF, of 64 bits, little-endian: as x86_64 and aarch64 have it.
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, length: usize| {
        let bytes = elf.get(at..at.checked_add(length)?)?;
        let number = bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        usize::try_from(number).ok()
    };
    let (first, each, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    let kind = |segment: usize| {
        let kind = number(first.checked_add(segment.checked_mul(each)?)?, 4)?;
        u32::try_from(kind).ok()
    };
    (0..count).map(kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_dynamic_linker_is_told_from_what_needs_none() {
        // The header of a program with two segments of 56 bytes: one that is loaded (1), and one of this kind.
        let program = |kind: u8| {
            let mut elf = vec![0; 0x40 + 2 * 56];
            elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
            (elf[0x20], elf[0x36], elf[0x38]) = (0x40, 56, 2);
            (elf[0x40], elf[0x40 + 56]) = (1, kind);
            elf
        };
        // PT_DYNAMIC alone is a static program that may lie anywhere.
        assert_eq!(segments(&program(2)), Some(vec![1, 2]));
        assert_eq!(segments(&program(3)), Some(vec![1, PT_INTERP]));
        for cut in [0, 5, 0x21, 0x60, 0x40 + 56] {
            assert_eq!(segments(&program(2)[..cut]), None, "{cut}");
        }
        assert_eq!(segments(b"#!/bin/sh\n"), None);
        // This test itself, as it was built.
        let this = std::env::current_exe().unwrap();
        assert_eq!(is_dynamic(&this).unwrap(), cfg!(target_env = "gnu"));
    }
}
