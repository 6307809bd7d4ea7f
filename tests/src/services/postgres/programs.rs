//! PostgreSQL's programs, but that one of them is another's doing.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Postgres;

impl Postgres {
    /// A new folder with all of them, but `program`, which is `script` with `$REAL` for the real one; it tells the real
    /// one's version.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn programs_but(&self, folder: &Path, program: &str, script: &str) -> Result<PathBuf> {
        let _gone = std::fs::remove_dir_all(folder);
        std::fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for entry in self.binaries().read_dir().context("there are no programs")? {
            let entry = entry.context("there are no programs")?;
            if entry.file_name() != program {
                symlink(entry.path(), folder.join(entry.file_name())).context("cannot make a link")?;
            }
        }
        let real = self.binaries().join(program);
        let real = real.display();
        let text = format!(
            "#!/bin/sh\nREAL='{real}'\n[ \"$1\" = --version ] && exec \"$REAL\" --version\n{script}\n"
        );
        let path = folder.join(program);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .context("cannot make it run")?;
        Ok(folder.to_owned())
    }

    /// As [`Postgres::programs_but`], but that SQL happens to what `pg_restore` restored. It has no apostrophe.
    ///
    /// # Errors
    /// As [`Postgres::programs_but`].
    pub fn programs_that_then(&self, folder: &Path, sql: &str) -> Result<PathBuf> {
        let psql = self.binaries().join("psql");
        let script = format!(
            "\"$REAL\" \"$@\" || exit 1\n\
             for argument; do case $argument in --dbname=*) exec {} -q \"$argument\" -c '{sql}' >/dev/null;; esac; done\nexit 1",
            psql.display()
        );
        self.programs_but(folder, "pg_restore", &script)
    }
}
