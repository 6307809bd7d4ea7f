//! `cargo xtask tidy`: the house rules that the compiler and clippy do not check.
//!
//! Every check is a pure function of what it looks at, so that its tests can show it bad input.

mod layers;
mod links;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::checkout;

/// The text files of the project, by their path from the root.
type Files = BTreeMap<PathBuf, String>;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    /// Breaks a rule: tidy fails.
    Broken(String),
    /// Is worth a thought: tidy says so and passes.
    Warning(String),
}

pub(crate) fn run() -> Result<ExitCode> {
    let root = checkout::root()?;
    let paths = checkout::files(&root)?;
    let files = read_texts(&root, &paths)?;
    let mut findings = layers::check(&layers::packages()?);
    findings.extend(links::check(&files, &paths));
    findings.extend(sources::check(&files));
    findings.sort();
    let mut broken = 0;
    for finding in &findings {
        match finding {
            Finding::Broken(what) => {
                broken += 1;
                eprintln!("error: {what}");
            }
            Finding::Warning(what) => eprintln!("warning: {what}"),
        }
    }
    if broken > 0 {
        eprintln!("tidy: {broken} to mend");
        return Ok(ExitCode::FAILURE);
    }
    println!("tidy: {} files are in order", paths.len());
    Ok(ExitCode::SUCCESS)
}

/// The files that are text; archives, images and binary vectors are none.
fn read_texts(root: &Path, paths: &[PathBuf]) -> Result<Files> {
    let mut files = Files::new();
    for path in paths {
        let bytes =
            std::fs::read(root.join(path)).with_context(|| format!("cannot read {}", path.display()))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.insert(path.clone(), text);
        }
    }
    Ok(files)
}
