//! The vectors of `format-spec/vectors/`, made from fixed inputs, so that a second implementation can be held against
//! them. `cargo xtask vectors` writes them, `--check` compares.
//!
//! It is no test of its own: `tests/` holds the files against the code, and the reader in `format-spec/reader/` holds
//! them against itself. Start reading at [`golden`].

mod chain;
pub mod chunking;
mod fixed;
pub mod frames;
pub mod golden;
pub mod journal;
pub mod negative;
mod opening;
mod pack_maker;
pub mod packs;
pub mod parity;
pub mod parts;
pub mod reading;
mod retiring;
pub mod sample;
mod statements;
mod tampered;
pub mod wal;

use anyhow::Result;
use serde_json::Value;

/// All files that are the same every time they are made.
///
/// # Errors
/// As [`golden::all`] and [`negative::all`].
pub fn reproducible() -> Result<Vec<(&'static str, Value)>> {
    let mut files = golden::all()?;
    files.push(("chunking.json", chunking::all()?));
    files.push(("journal.json", journal::all()?));
    files.push(("negative.json", negative::all()?));
    files.push(("packs.json", packs::all()?));
    files.push(("parity.json", parity::all()?));
    files.push(("parts.json", parts::all()?));
    files.push(("wal.json", wal::all()?));
    Ok(files)
}

/// A file that is kept once it was made: its name, what makes it, and what holds a stored one against the code.
pub type Kept = (&'static str, fn() -> Result<Value>, fn(&Value) -> Result<()>);

/// Files with compressed bytes: a newer zstd would write others.
pub const KEPT: [Kept; 2] =
    [("frames.json", frames::make, frames::verify), ("reading.json", reading::make, reading::verify)];

/// A file's text.
#[must_use]
pub fn text(value: &Value) -> String {
    format!("{value:#}\n")
}
