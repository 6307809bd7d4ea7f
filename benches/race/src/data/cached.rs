//! Data that is slow to generate, kept from one race to the next.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Files that a generator makes of a recipe; another recipe makes other files.
pub(super) struct CachedFiles<'a> {
    pub(super) cache: &'a Path,
    /// What it is, and how large: `database-415`.
    pub(super) name: String,
    /// Everything that decides what the files hold.
    pub(super) recipe: String,
    pub(super) files: &'a [&'a str],
}

impl CachedFiles<'_> {
    /// Where they are; `generate` makes them in the folder it is given if they are not there yet.
    pub(super) fn ensure(&self, generate: impl FnOnce(&Path) -> Result<()>) -> Result<Vec<PathBuf>> {
        let folder = self.folder();
        if !folder.is_dir() {
            std::fs::create_dir_all(self.cache)
                .with_context(|| format!("cannot make {}", self.cache.display()))?;
            let partial = tempfile::Builder::new().prefix("partial-").tempdir_in(self.cache);
            let partial = partial.with_context(|| format!("no folder in {}", self.cache.display()))?;
            generate(partial.path())?;
            // What has the name is whole.
            std::fs::rename(partial.path(), &folder)
                .with_context(|| format!("cannot name {}", folder.display()))?;
            // It is not there any more under its old name.
            let _renamed = partial.keep();
        }
        Ok(self.files.iter().map(|file| folder.join(file)).collect())
    }

    fn folder(&self) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        self.recipe.hash(&mut hasher);
        self.cache.join(format!("{}-{:016x}", self.name, hasher.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_made_once() {
        let cache = tempfile::tempdir().unwrap();
        let ensure = |recipe: &str, content: &str| {
            let files = CachedFiles {
                cache: cache.path(),
                name: "bread".into(),
                recipe: recipe.into(),
                files: &["loaf"],
            };
            let paths = files.ensure(|folder| Ok(std::fs::write(folder.join("loaf"), content)?)).unwrap();
            std::fs::read_to_string(&paths[0]).unwrap()
        };
        assert_eq!(ensure("flour", "first"), "first");
        assert_eq!(ensure("flour", "second"), "first");
        assert_eq!(ensure("rye", "third"), "third");
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let files = CachedFiles { cache: cache.path(), name: "a".into(), recipe: String::new(), files: &[] };
        assert!(files.ensure(|_| anyhow::bail!("no")).is_err());
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
    }
}
