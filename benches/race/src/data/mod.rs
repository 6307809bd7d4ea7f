//! What is backed up: a file a kind of data.

mod cached;
mod chance;
pub(crate) mod database;
pub(crate) mod input;
pub(crate) mod redis;
pub(crate) mod tree;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use tree::changing::ChangingTree;
pub(crate) use tree::files::ensure_same;

/// The days of one source.
pub(crate) enum Data {
    /// A file a day, that goes through a pipe.
    Streams { name: &'static str, days: Vec<PathBuf> },
    /// One folder, where it is never the same day twice.
    Tree(ChangingTree),
}

/// One day of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    Stream {
        /// As snapshots name it.
        name: &'a str,
        file: &'a Path,
    },
    Tree(&'a Path),
}

impl<'a> Source<'a> {
    pub(crate) fn path(self) -> &'a Path {
        match self {
            Self::Stream { file, .. } => file,
            Self::Tree(tree) => tree,
        }
    }
}

impl Data {
    /// Makes it that day; 0 is the first.
    pub(crate) fn turn_to(&mut self, day: usize) -> Result<Source<'_>> {
        match self {
            Self::Streams { name, days } => {
                let file = days.get(day).with_context(|| format!("{name} has no day {day}"))?;
                Ok(Source::Stream { name, file })
            }
            Self::Tree(tree) => tree.turn_to(day).map(Source::Tree),
        }
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Streams { days, .. } => {
                let length = |day: &PathBuf| std::fs::metadata(day).map_or(0, |metadata| metadata.len());
                let lengths: Vec<String> =
                    days.iter().map(|day| format!("{:.1} MB", length(day) as f64 / 1e6)).collect();
                f.write_str(&lengths.join(", then "))
            }
            Self::Tree(tree) => tree.fmt(f),
        }
    }
}
