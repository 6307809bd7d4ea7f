//! `wal-get`: what PostgreSQL's `restore_command` runs for each file of the log that it wants.
//!
//! The server takes codes up to 125 for "there is no such file", and ends its recovery: so only that is such a code, and
//! `main` moves every other one beyond.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use strongroom_engines::wal_segment;
use strongroom_repository::wal::ArchivedFile;

use crate::arguments::WalGet;
use crate::context::Context;
use crate::exit::{FAILED, Outcome};

pub(crate) fn run(context: &Context<'_>, arguments: &WalGet) -> anyhow::Result<Outcome> {
    let system = match arguments.archive.system_identifier {
        Some(system) => system,
        None => wal_segment::system_of_data_directory(Path::new(""))?,
    };
    let file = ArchivedFile { source: arguments.archive.source.clone(), system, file: arguments.file };
    let repository = context.open_without_index()?;
    let mut out = Beside::new(&arguments.destination);
    if repository.fetch_log_file(&file, &mut out)?.is_none() {
        return Ok(Outcome::Code(FAILED));
    }
    out.finish().with_context(|| format!("cannot write {}", arguments.destination.display()))?;
    Ok(Outcome::Done)
}

/// A file that is made when there is something to write, beside where it is to be; and is there when it is whole.
struct Beside {
    destination: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
}

impl Beside {
    fn new(destination: &Path) -> Self {
        let mut name = OsString::from(destination);
        name.push(format!(".strongroom-{}", std::process::id()));
        Self { destination: destination.to_owned(), temporary: name.into(), file: None }
    }

    /// Durable when it returns.
    fn finish(mut self) -> io::Result<()> {
        let Some(file) = self.file.as_ref() else { return Err(io::ErrorKind::NotFound.into()) };
        file.sync_all()?;
        std::fs::rename(&self.temporary, &self.destination)?;
        self.file = None;
        let folder = self.destination.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                let made =
                    options.write(true).create(true).truncate(true).mode(0o600).open(&self.temporary)?;
                self.file.insert(made)
            }
        };
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What is left of it is overwritten the next time.
            drop(std::fs::remove_file(&self.temporary));
        }
    }
}
