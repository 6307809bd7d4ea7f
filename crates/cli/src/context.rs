//! From the global arguments to an open repository.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use strongroom_keys::KeysError;
use strongroom_keys::random::OsRandom;
use strongroom_keys::unlock::Credential;
use strongroom_repository::clock::SystemClock;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::state::Snapshot;
use strongroom_repository::{OpenOptions, Repository, RepositoryError};
use strongroom_store::{LocalStore, NotAStoreReason, Store, StoreError};

use crate::arguments::Global;
use crate::exit::Usage;
use crate::progress::Terminal;
use crate::{credentials, selector, signals};

/// This program, as snapshots record it.
pub(crate) const TOOL: &str = concat!("strongroom ", env!("CARGO_PKG_VERSION"));

/// What every command works with.
pub(crate) struct Context<'a> {
    pub(crate) global: &'a Global,
    pub(crate) terminal: Terminal,
}

impl<'a> Context<'a> {
    pub(crate) fn new(global: &'a Global) -> anyhow::Result<Self> {
        signals::listen().context("cannot listen for signals")?;
        Ok(Self { global, terminal: Terminal::new(global) })
    }

    /// The path of the repository.
    pub(crate) fn location(&self) -> anyhow::Result<&Path> {
        let location = self.global.repo.as_deref();
        let location = location
            .ok_or_else(|| Usage("which repository? give --repo DIR or set STRONGROOM_REPO".into()))?;
        if let Some((scheme, rest)) = location.split_once("://") {
            return match scheme {
                "file" => Ok(Path::new(rest)),
                _ => Err(Usage(format!(
                    "repositories at {scheme}:// are not supported by this version: give a folder"
                ))
                .into()),
            };
        }
        Ok(Path::new(location))
    }

    fn store(&self) -> anyhow::Result<Arc<dyn Store>> {
        let path = self.location()?;
        match LocalStore::open(path) {
            Ok(store) => Ok(Arc::new(store)),
            Err(StoreError::NotAStore { reason: NotAStoreReason::Missing, .. }) => {
                Err(RepositoryError::NotARepository { location: path.display().to_string() }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the repository; asks for the passphrase where nothing else opens it and there is somebody to ask.
    pub(crate) fn open(&self) -> anyhow::Result<Repository> {
        let store = self.store()?;
        let fingerprint = Repository::fingerprint_of(&*store)?;
        let given = credentials::gather(self.global, &fingerprint)?;
        let nothing_given = given.is_empty();
        let repository = match self.open_with(&store, given) {
            Err(RepositoryError::Unlock { source: KeysError::NoCredential { .. }, .. }) if nothing_given => {
                match credentials::ask("Passphrase: ")? {
                    Some(passphrase) => self.open_with(&store, vec![Credential::Passphrase(passphrase)])?,
                    None => self.open_with(&store, Vec::new())?,
                }
            }
            other => other?,
        };
        for warning in repository.warnings() {
            self.terminal.warn(warning);
        }
        Ok(repository)
    }

    /// Opens the repository and loads its index.
    pub(crate) fn open_with_index(&self) -> anyhow::Result<Repository> {
        let mut repository = self.open()?;
        let known = repository.warnings().len();
        repository.load_index()?;
        for warning in &repository.warnings()[known..] {
            self.terminal.warn(warning);
        }
        Ok(repository)
    }

    fn open_with(
        &self,
        store: &Arc<dyn Store>,
        credentials: Vec<Credential>,
    ) -> Result<Repository, RepositoryError> {
        let cache_folder = match &self.global.cache_dir {
            _ if self.global.no_cache => None,
            Some(folder) => Some(folder.clone()),
            // Without a home folder there is no cache, and that is no reason to fail.
            None => credentials::default_cache_folder().ok(),
        };
        let options = OpenOptions {
            credentials,
            cache_folder,
            fingerprint: self.global.fingerprint.clone(),
            random: Arc::new(OsRandom),
            clock: Arc::new(SystemClock),
        };
        Repository::open(Arc::clone(store), options)
    }

    /// The snapshot that a person means.
    pub(crate) fn select<'r>(&self, repository: &'r Repository, text: &str) -> anyhow::Result<&'r Snapshot> {
        Ok(repository.select(text, &selector::parse(text)?)?)
    }

    /// Prints a JSON object on a line of its own.
    pub(crate) fn json(&self, value: &serde_json::Value) {
        crate::output::line!("{value}");
    }

    /// Leaves a note for the audit trail; a host that may not write says that its work left none.
    pub(crate) fn note(
        &self,
        repository: &mut Repository,
        event: &str,
        snapshot: Option<strongroom_format::SnapshotId>,
        detail: &serde_json::Value,
    ) {
        if let Err(error) = repository.note(event, snapshot, &detail.to_string()) {
            self.terminal
                .say(&format!("note: this {event} left no trace in the repository's audit trail: {error}"));
        }
    }
}

/// Threads to use.
pub(crate) fn workers(jobs: Option<usize>) -> usize {
    jobs.filter(|jobs| *jobs > 0)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from))
        .min(64)
}

/// This host's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// This user's name.
pub(crate) fn user_name() -> String {
    uzers::get_current_username()
        .map_or_else(|| uzers::get_current_uid().to_string(), |name| name.to_string_lossy().into_owned())
}
