//! `backup ledger`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use strongroom_chunker::ChunkerParams;
use strongroom_format::path::EntryPath;
use strongroom_repository::RepositoryError;
use strongroom_repository::backup::Sink;

use super::chain::{self, Blocks, ChainOptions, Tip};
use super::error::LedgerError;
use super::facts::{ChainFacts, Facts, MetadataFacts, SqliteFacts};
use super::lsm::store::{At, Name, PinnedContent, PinnedFile, whole_records};
use super::moment::{Pinned, PinnedDatabase, Pinning, is_untouched, relative};
use super::node_metadata;
use super::scan::{Found, is_sqlite, scan};
use super::sqlite::{COMPANIONS, companion, of_sqlite};
use crate::engine::{Engine, EngineError};
use crate::files::{Excludes, FilesRun, ParentTree, Walk, WalkOptions, Walked, WalkedEntry, XattrScope};

/// A chunk is some pages: what changes in one of them does not move the others, and what is appended moves nothing.
const CHUNKS: ChunkerParams = ChunkerParams::Fixed { size: 64 << 10 };
/// Files that changed that are named.
const CHANGED_NAMED: usize = 50;

/// What of SQLite files is checked before they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntegrityCheck {
    /// `PRAGMA integrity_check`.
    Full,
    /// `PRAGMA quick_check`: not whether indexes agree with their tables.
    Quick,
    /// Nothing.
    None,
}

impl IntegrityCheck {
    fn pragma(self) -> Option<&'static str> {
        match self {
            Self::Full => Some("integrity_check"),
            Self::Quick => Some("quick_check"),
            Self::None => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Quick => "quick",
            Self::None => "none",
        }
    }
}

/// Backs up a node's data directory.
#[derive(Debug)]
pub struct Ledger {
    /// It, absolute and without symbolic links.
    pub root: PathBuf,
    /// What is left out.
    pub excludes: Excludes,
    /// The node's metadata file; none is one called `metadata.json`.
    pub metadata: Option<PathBuf>,
    /// Where the chain is.
    pub chain: ChainOptions,
    /// What is checked.
    pub integrity_check: IntegrityCheck,
    /// Fail where not all of it is of one moment.
    pub require_one_moment: bool,
    /// How long to wait for another process' lock on a database.
    pub lock_timeout: Duration,
    /// What was found by the run.
    pub told: Mutex<Option<Facts>>,
}

impl Engine for Ledger {
    fn name(&self) -> &'static str {
        super::ENGINE
    }

    fn backup(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        self.back_up(sink)
    }
}

impl Ledger {
    fn back_up(&self, sink: &Sink<'_, '_>) -> Result<(), EngineError> {
        let found = scan(&self.root, &self.excludes)?;
        let pinning = Pinning {
            root: &self.root,
            found: &found,
            metadata: self.metadata.clone().or_else(|| found.metadata.first().cloned()),
            lock_timeout: self.lock_timeout,
            monitor: sink.monitor(),
        };
        let mut pinned = pinning.pin(|| {
            let mut parent = ParentTree::of(sink);
            move |walked: &WalkedEntry| parent.as_mut()?.unchanged(walked).ok()?
        })?;
        if self.require_one_moment && !pinned.moment.one {
            let what = pinned.moment.written_between.join(", ");
            return Err(LedgerError::NotOneMoment { what }.into());
        }
        let mut facts = self.facts_of(&pinned)?;
        let mut run = FilesRun::new(sink, std::slice::from_ref(&self.root), CHUNKS)?;
        Storing::new(&mut run, &self.root, &found, &mut pinned).all(self, &mut facts)?;
        if self.require_one_moment && facts.moment.changed_after > 0 {
            let what = facts.moment.changed.join(", ");
            return Err(LedgerError::NotOneMoment { what }.into());
        }
        facts.moment.one &= facts.moment.changed_after == 0;
        let json =
            serde_json::to_vec(&facts).map_err(|error| LedgerError::Facts { what: error.to_string() })?;
        sink.facts(json);
        self.warn(sink, &facts);
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts);
        run.finish(CHUNKS)
    }

    /// All that is known before anything is stored.
    fn facts_of(&self, pinned: &Pinned) -> Result<Facts, LedgerError> {
        let mut sqlite = Vec::new();
        for PinnedDatabase { database, .. } in &pinned.databases {
            let damage = match self.integrity_check.pragma() {
                Some(pragma) => database.check(pragma)?,
                None => Vec::new(),
            };
            sqlite.push(SqliteFacts {
                path: relative(&self.root, database.path()),
                bytes: database.bytes()?,
                journal_mode: database.journal_mode()?,
                tables: database.rows()?,
                integrity_check: self.integrity_check.name().into(),
                damage,
            });
        }
        let metadata = pinned
            .metadata
            .as_ref()
            .map(|file| node_metadata::parse(relative(&self.root, &file.path), &file.bytes));
        let (chain, tip) =
            self.chain_of(pinned)?.map_or((None, None), |(chain, tip)| (Some(chain), Some(tip)));
        let (tip, from) = height_of(chain.as_ref(), tip, metadata.as_ref());
        Ok(Facts {
            engine: super::ENGINE.into(),
            root: self.root.to_string_lossy().into_owned(),
            height: tip.height,
            head: tip.head,
            height_from: from,
            metadata,
            chain,
            sqlite,
            stores: pinned.stores.iter().map(|store| store.facts.clone()).collect(),
            moment: pinned.moment.clone(),
        })
    }

    fn chain_of(&self, pinned: &Pinned) -> Result<Option<(ChainFacts, Tip)>, LedgerError> {
        let options = &self.chain;
        let wanted = pinned
            .databases
            .iter()
            .map(|pinned| &pinned.database)
            .filter(|database| options.database.as_deref().is_none_or(|path| path == database.path()));
        let mut is_any = false;
        for database in wanted {
            is_any = true;
            let (connection, path) = (database.connection(), database.path());
            let wrong = |error| of_sqlite(path, error);
            let blocks = Blocks::find(connection, options).map_err(wrong)?;
            let mut facts = ChainFacts {
                database: relative(&self.root, path),
                query: options.height_query.clone(),
                table: None,
                columns: None,
                links: None,
            };
            let mut found = None;
            if let Some(blocks) = blocks {
                facts.links = Some(blocks.links(connection, Some(self.chain.links)).map_err(wrong)?);
                found = Some(blocks.tip(connection).map_err(wrong)?);
                (facts.table, facts.columns) = (Some(blocks.table), Some(blocks.columns));
            }
            if let Some(query) = &options.height_query {
                match chain::tip(connection, query) {
                    Ok(tip) if tip.height.is_some() => return Ok(Some((facts, tip))),
                    Ok(_) => {
                        let what = format!("the query for the height gives no number: {query}");
                        return Err(LedgerError::Height { what });
                    }
                    // Of another database, perhaps.
                    Err(_) if options.database.is_none() && pinned.databases.len() > 1 => continue,
                    Err(error) => {
                        let what = format!("the query for the height fails: {error}");
                        return Err(LedgerError::Height { what });
                    }
                }
            }
            if let Some(tip) = found {
                return Ok(Some((facts, tip)));
            }
        }
        let what = match options {
            ChainOptions { database: Some(path), .. } if !is_any => {
                format!("{} is no SQLite file below {}", path.display(), self.root.display())
            }
            ChainOptions { height_query: Some(_), .. } => {
                "no database answers the query for the height".into()
            }
            ChainOptions { table: Some(table), .. } => {
                format!("no database has a table {table} with columns of height, hash and previous hash")
            }
            _ => return Ok(None),
        };
        Err(LedgerError::Height { what })
    }

    /// Says what is not as one would wish.
    fn warn(&self, sink: &Sink<'_, '_>, facts: &Facts) {
        let warn = |text: &str| sink.monitor().warn(text);
        let moment = &facts.moment;
        if !moment.written_between.is_empty() {
            warn(&format!(
                "this snapshot is NOT of one moment: {} was written to in the {} ms in which all was pinned, each time it was tried; pause the node for it with --pre and --post",
                moment.written_between.join(", "),
                moment.apart_ms
            ));
        }
        if moment.changed_after > 0 {
            warn(&format!(
                "{} files or folders are of a later moment than the databases, as they were when they were read: {}; to have them as of one, pause the node with --pre and --post, or leave logs out with --exclude",
                moment.changed_after,
                moment.changed.join(", ")
            ));
        }
        for database in facts.sqlite.iter().filter(|database| !database.damage.is_empty()) {
            warn(&format!(
                "{} is damaged, and stored as it is: {}",
                database.path,
                database.damage.join("; ")
            ));
        }
        for link in facts.chain.iter().filter_map(|chain| chain.links.as_ref()).flat_map(|links| &links.named)
        {
            warn(&format!("the chain is broken, and stored as it is: {link}"));
        }
        let told = facts.metadata.as_ref().and_then(|metadata| metadata.height);
        match facts.height {
            None => warn(
                "nothing tells the height: there is no metadata.json with one, and no table of blocks; name them with --metadata, --chain-db, --height-query",
            ),
            Some(height) if told.is_some_and(|told| told != height) => warn(&format!(
                "the chain is at height {height}, and the node's metadata file says {}",
                told.unwrap_or_default()
            )),
            Some(_) => {}
        }
    }
}

/// The chain itself is believed before the file that tells of it.
fn height_of(
    chain: Option<&ChainFacts>,
    tip: Option<Tip>,
    metadata: Option<&MetadataFacts>,
) -> (Tip, Option<String>) {
    if let (Some(chain), Some(tip)) = (chain, tip)
        && tip.height.is_some()
    {
        return (tip, Some(if chain.query.is_some() { "query" } else { "blocks" }.into()));
    }
    match metadata.filter(|metadata| metadata.height.is_some()) {
        Some(metadata) => {
            let tip = Tip { height: metadata.height, head: metadata.head.clone() };
            (tip, Some("metadata".into()))
        }
        None => (Tip::default(), None),
    }
}

/// Stores a directory of which some is pinned, in the order of the tree.
struct Storing<'r, 'f, 's, 'scope, 'env> {
    run: &'r mut FilesRun<'s, 'scope, 'env>,
    root: &'r Path,
    stores: &'f BTreeSet<PathBuf>,
    /// What is not to be stored: it belongs to a database.
    companions: BTreeSet<PathBuf>,
    /// Folders whose times say nothing.
    busy: BTreeSet<PathBuf>,
    waiting: BTreeMap<EntryPath, Waiting>,
    began_ns: i64,
}

/// Something pinned that is not stored yet.
enum Waiting {
    File(Box<PinnedFile>),
    Database(Box<PinnedDatabase>),
    Metadata(Vec<u8>, Box<WalkedEntry>),
}

impl<'r, 'f, 's, 'scope, 'env> Storing<'r, 'f, 's, 'scope, 'env> {
    fn new(
        run: &'r mut FilesRun<'s, 'scope, 'env>,
        root: &'r Path,
        found: &'f Found,
        pinned: &mut Pinned,
    ) -> Self {
        let mut waiting = BTreeMap::new();
        for (path, file) in pinned.take_files() {
            waiting.insert(path, Waiting::File(Box::new(file)));
        }
        let mut companions = BTreeSet::new();
        let busy = pinned.busy_folders(found);
        for database in pinned.databases.drain(..) {
            companions.extend(COMPANIONS.map(|suffix| companion(database.database.path(), suffix)));
            waiting.insert(database.walked.entry.path.clone(), Waiting::Database(Box::new(database)));
        }
        if let Some(metadata) = pinned.metadata.take()
            && let Some(walked) = metadata.walked
            && metadata.path.starts_with(root)
        {
            waiting.insert(walked.entry.path.clone(), Waiting::Metadata(metadata.bytes, Box::new(walked)));
        }
        Self { run, root, stores: &found.stores, companions, busy, waiting, began_ns: pinned.began_ns }
    }

    fn all(mut self, ledger: &Ledger, facts: &mut Facts) -> Result<(), EngineError> {
        let options = WalkOptions {
            excludes: ledger.excludes.clone(),
            xattrs: XattrScope::NotOfFiles,
            ..WalkOptions::default()
        };
        for walked in Walk::new(&[self.root.to_owned()], options)? {
            match walked {
                Walked::Entry(walked) => self.entry(*walked, facts)?,
                Walked::Excluded { .. } | Walked::Failed { vanished: true, .. } => {}
                Walked::Failed { path, operation, error, .. } => {
                    self.run.failed(&format!("cannot {operation} {}: {error}", path.display()));
                }
            }
        }
        self.before(None)
    }

    fn entry(&mut self, walked: WalkedEntry, facts: &mut Facts) -> Result<(), EngineError> {
        self.before(Some(&walked.entry.path))?;
        if let Some(waiting) = self.waiting.remove(&walked.entry.path) {
            return self.store(waiting);
        }
        if self.is_companion(&walked) || self.is_of_store(&walked) {
            return Ok(());
        }
        let changed_ns = walked.entry.metadata.as_ref().map_or(0, |metadata| metadata.ctime_ns);
        let is_below = walked.os_path.starts_with(self.root);
        if is_below && changed_ns >= self.began_ns && !self.busy.contains(&walked.os_path) {
            facts.moment.changed_after += 1;
            if facts.moment.changed.len() < CHANGED_NAMED {
                facts.moment.changed.push(relative(self.root, &walked.os_path));
            }
        }
        self.run.entry(walked)
    }

    /// Whether it belongs to a database: to one that is read, or to one that is left out.
    fn is_companion(&self, walked: &WalkedEntry) -> bool {
        let path = walked.os_path.as_os_str().as_bytes();
        let base = || COMPANIONS.iter().find_map(|suffix| path.strip_suffix(suffix.as_bytes()));
        // Of one that is read, the file itself must not be opened here.
        self.companions.contains(&walked.os_path)
            || (walked.is_file() && base().is_some_and(|base| is_sqlite(Path::new(OsStr::from_bytes(base)))))
    }

    /// Whether the manifest decides about it, and has done so.
    fn is_of_store(&self, walked: &WalkedEntry) -> bool {
        walked.is_file()
            && walked.os_path.parent().is_some_and(|folder| self.stores.contains(folder))
            && walked.os_path.file_name().is_some_and(|name| Name::of(&name.to_string_lossy()) != Name::Other)
    }

    /// Stores what is pinned and comes before that path, or all of it: the walk does not find what was deleted meanwhile.
    fn before(&mut self, path: Option<&EntryPath>) -> Result<(), EngineError> {
        while let Some(first) = self.waiting.first_entry() {
            if path.is_some_and(|path| first.key() >= path) {
                return Ok(());
            }
            let waiting = first.remove();
            self.store(waiting)?;
        }
        Ok(())
    }

    fn store(&mut self, waiting: Waiting) -> Result<(), EngineError> {
        match waiting {
            Waiting::File(file) => self.file(*file),
            Waiting::Metadata(bytes, walked) => Ok(self.run.content(*walked, &mut &bytes[..])?),
            Waiting::Database(database) => self.database(*database),
        }
    }

    fn file(&mut self, file: PinnedFile) -> Result<(), EngineError> {
        let path = file.walked.os_path.clone();
        let unreadable = |error| match error {
            RepositoryError::Read { source, .. } => LedgerError::Read { path: path.clone(), source }.into(),
            error => EngineError::Repository(error),
        };
        match file.content {
            PinnedContent::Known(entry) => Ok(self.run.known(*entry)?),
            PinnedContent::Bytes(bytes) => self.run.content(file.walked, &mut &bytes[..]).map_err(unreadable),
            PinnedContent::Open(open, end) => {
                let mut reader = At { file: &open, offset: 0, end };
                let (before, expected) = (self.run.bytes, end);
                self.run.content(file.walked, &mut reader).map_err(unreadable)?;
                if self.run.bytes - before != expected {
                    return Err(LedgerError::Changed { path }.into());
                }
                Ok(())
            }
            PinnedContent::Log(open, end, number) => {
                self.run.content(file.walked, &mut At { file: &open, offset: 0, end }).map_err(unreadable)?;
                // RocksDB may have begun to write a newer log into the same file.
                match whole_records(&open, end, number) {
                    Ok(still) if still == end => Ok(()),
                    Ok(_) => Err(LedgerError::Changed { path }.into()),
                    Err(source) => Err(LedgerError::Read { path, source }.into()),
                }
            }
        }
    }

    fn database(&mut self, pinned: PinnedDatabase) -> Result<(), EngineError> {
        let PinnedDatabase { database, walked } = pinned;
        let path = database.path().to_owned();
        let expected = database.bytes()?;
        let at_rest = database.is_taken_for_at_rest().then(|| (walked.entry.clone(), walked.size));
        let before = self.run.bytes;
        database.read(|pages| {
            self.run.content(walked, pages).map_err(|error| match error {
                RepositoryError::Read { source, .. } => of_pages(&path, source).into(),
                error => EngineError::Repository(error),
            })
        })?;
        let read = self.run.bytes - before;
        if read != expected {
            return Err(LedgerError::Length { path, read, expected }.into());
        }
        if let Some((then, size)) = at_rest
            && !std::fs::metadata(&path).is_ok_and(|now| is_untouched(&then, size, &now))
        {
            return Err(LedgerError::Changed { path }.into());
        }
        Ok(())
    }
}

/// What SQLite said, out of what carried it here.
fn of_pages(path: &Path, source: io::Error) -> LedgerError {
    match source.downcast::<rusqlite::Error>() {
        Ok(error) => of_sqlite(path, error),
        Err(source) => LedgerError::Read { path: path.to_owned(), source },
    }
}
