//! A file of the user's, and what a day's changes would make of it.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use strongroom_tests::dump::change_one_percent;

use super::Data;

pub(crate) fn prepare(input: &Path, folder: &Path) -> Result<Data> {
    ensure!(input.is_file(), "{} is no file", input.display());
    let first = std::path::absolute(input).with_context(|| format!("where is {}?", input.display()))?;
    let next = folder.join("next-day");
    let source = File::open(&first).with_context(|| format!("cannot open {}", first.display()))?;
    let mut file =
        BufWriter::new(File::create(&next).with_context(|| format!("cannot make {}", next.display()))?);
    change_one_percent(&mut BufReader::new(source), &mut file)
        .and_then(|()| file.flush())
        .with_context(|| format!("cannot write {}", next.display()))?;
    Ok(Data::Streams { name: "input", days: vec![first, next] })
}
