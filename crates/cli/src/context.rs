//! From the global arguments to an open repository.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use strongroom_keys::KeysError;
use strongroom_keys::kms::KmsTrouble;
use strongroom_keys::random::OsRandom;
use strongroom_keys::unlock::Credential;
use strongroom_repository::clock::SystemClock;
use strongroom_repository::memory::MemoryBound;
use strongroom_repository::monitor::Monitor;
use strongroom_repository::reader::Reader;
use strongroom_repository::state::Snapshot;
use strongroom_repository::{OpenOptions, Repository, RepositoryError};
use strongroom_store::{
    CacheOptions, CacheStore, HotStore, NotAStoreReason, Store, StoreError, StoreOptions, StoreUrl,
};

use crate::arguments::Global;
use crate::audit::Operation;
use crate::exit::Usage;
use crate::progress::Terminal;
use crate::{credentials, render, selector, signals};

/// This program, as snapshots record it.
pub(crate) const TOOL: &str = concat!("strongroom ", env!("CARGO_PKG_VERSION"));

/// What every command works with.
pub(crate) struct Context<'a> {
    pub(crate) global: &'a Global,
    pub(crate) terminal: Terminal,
    /// What is under way, as its notes name it.
    pub(crate) operation: Mutex<Option<Operation>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(global: &'a Global) -> anyhow::Result<Self> {
        signals::listen().context("cannot listen for signals")?;
        Ok(Self::of(global))
    }

    /// With other options, for another repository.
    pub(crate) fn of(global: &'a Global) -> Self {
        Self { global, terminal: Terminal::new(global), operation: Mutex::default() }
    }

    /// Where the repository is.
    pub(crate) fn url(&self) -> anyhow::Result<StoreUrl> {
        let location = self.global.repo.as_deref().ok_or_else(|| {
            Usage("which repository? give --repo, a folder or URL, or set STRONGROOM_REPO".into())
        })?;
        parse_url(location)
    }

    /// The store at the repository's place, as it is used: with a hot store beside it if there is one.
    pub(crate) fn store_at(
        &self,
        open: impl Fn(&StoreUrl, &StoreOptions) -> anyhow::Result<Arc<dyn Store>>,
    ) -> anyhow::Result<Arc<dyn Store>> {
        let options = self.store_options();
        let store = open(&self.url()?, &options)?;
        match &self.global.store.hot_store {
            None => Ok(store),
            Some(hot) => {
                let hot = open(&parse_url(hot)?, &StoreOptions { storage_class_packs: None, ..options })?;
                Ok(Arc::new(HotStore::new(hot, store)))
            }
        }
    }

    fn store_options(&self) -> StoreOptions {
        let given = &self.global.store;
        StoreOptions {
            region: given.region.clone(),
            endpoint: given.endpoint.clone(),
            ca_bundle: given.ca_cert.clone(),
            path_style: given.path_style,
            storage_class_packs: given.storage_class.clone(),
            sse_kms_key: given.sse_kms_key.clone(),
            upload_bytes_per_second: given.limit_upload,
            download_bytes_per_second: given.limit_download,
            requests_per_second: given.limit_requests,
            connections: given.connections,
            deadline: given.retry_for,
        }
    }

    /// The store, and the same behind copies of what never changes: a folder needs none.
    fn stores(&self) -> anyhow::Result<(Arc<dyn Store>, Arc<dyn Store>)> {
        let origin = self.store_at(|url, options| match url.open(options) {
            Err(StoreError::NotAStore { reason: NotAStoreReason::Missing, path }) => {
                Err(RepositoryError::NotARepository { location: path.display().to_string() }.into())
            }
            opened => Ok(opened?),
        })?;
        match self.cache_folder().filter(|_| self.is_remote()) {
            None => Ok((Arc::clone(&origin), origin)),
            Some(folder) => {
                let place = blake3::hash(origin.location().as_bytes()).to_hex();
                let folder = folder.join("objects").join(&place[..32]);
                let cached = CacheStore::new(Arc::clone(&origin), folder, CacheOptions::default());
                Ok((Arc::new(cached), origin))
            }
        }
    }

    /// The store, for those who open nothing.
    pub(crate) fn store(&self) -> anyhow::Result<Arc<dyn Store>> {
        Ok(self.stores()?.1)
    }

    /// Packs to store at the same time.
    pub(crate) fn uploads(&self) -> usize {
        if self.is_remote() { 4 } else { 2 }
    }

    /// Threads that read stored data: many where each waits for a network.
    pub(crate) fn readers(&self, jobs: Option<usize>) -> usize {
        let wanted = if self.is_remote() { workers(jobs).max(16) } else { workers(jobs) };
        wanted.min(self.memory().threads())
    }

    /// Threads that work on data, as many as there is memory for.
    pub(crate) fn workers(&self, jobs: Option<usize>) -> usize {
        workers(jobs).min(self.memory().threads())
    }

    /// Threads that each hold a pack.
    pub(crate) fn pack_readers(&self, jobs: Option<usize>) -> usize {
        workers(jobs).min(self.memory().threads() / 2).max(self.uploads())
    }

    fn memory(&self) -> MemoryBound {
        MemoryBound::new(self.global.memory, self.uploads())
    }

    fn is_remote(&self) -> bool {
        self.url().is_ok_and(|url| !matches!(url, StoreUrl::Local(_)))
    }

    /// Where caches lie, if there are to be any.
    pub(crate) fn cache_folder(&self) -> Option<PathBuf> {
        match &self.global.cache_dir {
            _ if self.global.no_cache => None,
            Some(folder) => Some(folder.clone()),
            // Without a home folder there is no cache, and that is no reason to fail.
            None => credentials::default_cache_folder().ok(),
        }
    }

    /// Where this host keeps what it must not lose.
    pub(crate) fn state_folder(&self) -> anyhow::Result<PathBuf> {
        self.global.state_dir.clone().map_or_else(credentials::default_state_folder, Ok)
    }

    /// Opens the repository.
    pub(crate) fn open(&self) -> anyhow::Result<Repository> {
        self.open_for(false)
    }

    /// Opens the repository; asks for the passphrase where nothing else opens it and there is somebody to ask.
    fn open_for(&self, reads_content: bool) -> anyhow::Result<Repository> {
        self.open_from(&self.stores()?, self.cache_folder(), reads_content)
    }

    /// Opens the repository with nothing that this host keeps of it.
    pub(crate) fn open_afresh(&self) -> anyhow::Result<Repository> {
        let (_, origin) = self.stores()?;
        self.open_from(&(Arc::clone(&origin), origin), None, false)
    }

    fn open_from(
        &self,
        stores: &(Arc<dyn Store>, Arc<dyn Store>),
        cache_folder: Option<PathBuf>,
        reads_content: bool,
    ) -> anyhow::Result<Repository> {
        let fingerprint = Repository::fingerprint_of(&*stores.0)?;
        let given = credentials::gather(self.global, &fingerprint)?;
        let nothing_given = given.is_empty();
        let opened = self.open_with(stores, given, cache_folder.clone(), reads_content);
        let repository = match opened {
            Err(RepositoryError::Unlock { ref source, .. }) if nothing_given && may_be_asked(source) => {
                match credentials::ask("Passphrase: ")? {
                    Some(passphrase) => {
                        let given = vec![Credential::Passphrase(passphrase)];
                        self.open_with(stores, given, cache_folder, reads_content)?
                    }
                    None => opened?,
                }
            }
            other => other?,
        };
        for warning in repository.warnings() {
            self.terminal.warn(warning);
        }
        Ok(repository)
    }

    /// Opens the repository to read stored data, and loads its index.
    pub(crate) fn open_to_read(&self) -> anyhow::Result<Repository> {
        self.with_index(self.open_for(true)?)
    }

    /// Opens the repository to read what no index describes.
    pub(crate) fn open_without_index(&self) -> anyhow::Result<Repository> {
        self.open_for(true)
    }

    /// Opens the repository to read stored data.
    pub(crate) fn open_to_check(&self, reads_content: bool) -> anyhow::Result<Repository> {
        self.open_for(reads_content)
    }

    /// Opens the repository and loads its index.
    pub(crate) fn open_with_index(&self) -> anyhow::Result<Repository> {
        self.with_index(self.open()?)
    }

    pub(crate) fn with_index(&self, mut repository: Repository) -> anyhow::Result<Repository> {
        let known = repository.warnings().len();
        repository.load_index()?;
        for warning in &repository.warnings()[known..] {
            self.terminal.warn(warning);
        }
        Ok(repository)
    }

    fn open_with(
        &self,
        (store, origin): &(Arc<dyn Store>, Arc<dyn Store>),
        mut credentials: Vec<Credential>,
        cache_folder: Option<PathBuf>,
        reads_content: bool,
    ) -> Result<Repository, RepositoryError> {
        credentials.push(Credential::Kms(credentials::kms(self.global)));
        let options = OpenOptions {
            cache_folder,
            fingerprint: self.global.fingerprint.clone(),
            origin: Some(Arc::clone(origin)),
            memory: self.memory(),
            reads_content,
            writer: Some(self.global.writer.clone().unwrap_or_else(host_name)),
            ..OpenOptions::new(credentials, Arc::new(OsRandom), Arc::new(SystemClock))
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
}

/// Says how many damaged packs were read all the same. Not to machines on standard output, which may be of data.
pub(crate) fn tell_healed(reader: &Reader<'_>) -> usize {
    let healed = reader.healed().len();
    if healed > 0 {
        eprintln!(
            "warning: {} read by parity, and nothing is lost; `strongroom repair packs` writes what is damaged anew",
            render::count(healed as u64, "damaged pack")
        );
    }
    healed
}

/// Whether a passphrase may be what is missing.
fn may_be_asked(error: &KeysError) -> bool {
    match error {
        KeysError::NoCredential { .. } => true,
        KeysError::Kms(error) => matches!(error.trouble, KmsTrouble::Credentials { .. }),
        _ => false,
    }
}

fn parse_url(text: &str) -> anyhow::Result<StoreUrl> {
    StoreUrl::parse(text).map_err(|error| Usage(error.to_string()).into())
}

/// Threads to use.
pub(crate) fn workers(jobs: Option<usize>) -> usize {
    jobs.filter(|jobs| *jobs > 0)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from))
        .min(64)
}

/// This host's name, or the one that it is given.
pub(crate) fn host_of_run() -> String {
    std::env::var("STRONGROOM_HOST").ok().filter(|name| !name.is_empty()).unwrap_or_else(host_name)
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
