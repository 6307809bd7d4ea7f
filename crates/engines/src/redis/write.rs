//! A dump as files for a server that is not running.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use strongroom_repository::monitor::Monitor;
use tempfile::NamedTempFile;

use super::Dumps;
use super::error::RedisError;
use crate::engine::EngineError;

const DUMP: &str = "dump.rdb";
const AOF_FOLDER: &str = "appendonlydir";
const AOF_NAME: &str = "appendonly.aof";
const BUFFER_BYTES: usize = 1 << 20;

/// As which files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AofFolder {
    /// `dump.rdb`.
    No,
    /// `appendonlydir/`, as servers from 7.0 on have it, which a server with `appendonly yes` starts from.
    Yes,
}

impl Dumps<'_> {
    /// Writes the files into a folder, which is made if need be. Gives the path of what a server is to be started on, and the
    /// bytes.
    ///
    /// # Errors
    /// `Exists` where it is there already; `WriteFile`; as [`Dumps::write`].
    pub fn write_files(
        &self,
        folder: &Path,
        as_files: AofFolder,
        only: &[u64],
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<(PathBuf, u64), EngineError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| RedisError::WriteFile { path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        if as_files == AofFolder::No {
            let path = folder.join(DUMP);
            let bytes = self.write_file(&path, only, monitor, workers)?;
            return Ok((path, bytes));
        }
        let path = folder.join(AOF_FOLDER);
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(RedisError::Exists { path }.into());
            }
            made => made.map_err(failed(&path))?,
        }
        let base = format!("{AOF_NAME}.1.base.rdb");
        let bytes = self.write_file(&path.join(&base), only, monitor, workers)?;
        let written = format!("{AOF_NAME}.1.incr.aof");
        // Last, because without it a server takes none of the others.
        let manifest = format!("file {base} seq 1 type b\nfile {written} seq 1 type i\n");
        write_small(&path.join(&written), b"")?;
        write_small(&path.join(format!("{AOF_NAME}.manifest")), manifest.as_bytes())?;
        sync(&path)?;
        Ok((path, bytes))
    }

    /// Under another name until it is whole.
    fn write_file(
        &self,
        path: &Path,
        only: &[u64],
        monitor: &dyn Monitor,
        workers: usize,
    ) -> Result<u64, EngineError> {
        if path.try_exists().unwrap_or(true) {
            return Err(RedisError::Exists { path: path.to_owned() }.into());
        }
        let failed = |source| RedisError::WriteFile { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(folder).map_err(failed)?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file.as_file_mut());
        let bytes = self.write(only, &mut out, monitor, workers)?;
        out.flush().map_err(failed)?;
        drop(out);
        file.as_file().sync_all().map_err(failed)?;
        file.persist_noclobber(path).map_err(|error| failed(error.error))?;
        sync(folder)?;
        Ok(bytes)
    }
}

fn write_small(path: &Path, bytes: &[u8]) -> Result<(), RedisError> {
    let failed = |source| RedisError::WriteFile { path: path.to_owned(), source };
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

fn sync(folder: &Path) -> Result<(), RedisError> {
    let failed = |source| RedisError::WriteFile { path: folder.to_owned(), source };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}
