//! Writes the vectors, or with `--check` compares them: `strongroom-vectors FOLDER [--check]`.

#![allow(clippy::print_stdout, reason = "a command-line tool prints")]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use strongroom_vectors::{KEPT, reproducible, sample, text};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, check) = match &arguments[..] {
        [folder] => (Path::new(folder), false),
        [folder, check] if check == "--check" => (Path::new(folder), true),
        _ => bail!("usage: strongroom-vectors FOLDER [--check]"),
    };
    for (name, value) in reproducible()? {
        let path = folder.join(name);
        if check {
            let stored = fs::read_to_string(&path)
                .with_context(|| format!("{name} is missing: run `cargo xtask vectors`"))?;
            ensure!(
                stored == text(&value),
                "{name} is not what the code makes: run `cargo xtask vectors`, and see what changed"
            );
        } else {
            fs::create_dir_all(folder)?;
            fs::write(&path, text(&value))?;
        }
    }
    // Compressed bytes are made once: a newer zstd would write others.
    for (name, make, verify) in KEPT {
        let path = folder.join(name);
        if !path.exists() && !check {
            fs::write(&path, text(&make()?))?;
        }
        let stored = fs::read_to_string(&path).with_context(|| format!("{name} is missing"))?;
        verify(&serde_json::from_str(&stored)?).with_context(|| format!("{name} does not hold"))?;
    }
    let repository = folder.join("repository-v1");
    if !repository.exists() && !check {
        sample::make(&repository)?;
    }
    ensure!(
        repository.join("repository/config").exists(),
        "repository-v1 is missing: run `cargo xtask vectors`"
    );
    println!("vectors: {}", if check { "as the code makes them" } else { "written" });
    Ok(())
}
