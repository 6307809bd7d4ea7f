//! The local cache: what the repository's index says, and what this host has seen of the journal.
//!
//! It may be deleted at any time. Nothing in it is believed where that could lose data: a chunk counts as
//! present only in packs that the journal's state names, every chunk is verified when it is read, and a cache
//! that fails is replaced by one in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use strongroom_format::entry::{IndexRef, PackRef};
use strongroom_format::header::HEADER_LENGTH;
use strongroom_format::index::{Index, IndexedPack};
use strongroom_format::pack::Footer;
use strongroom_format::registry::{ObjectKind, Trust};
use strongroom_format::{ChunkId, ContentHash, IndexId, KeyId, PackId, RecipientId, WriterId};
use strongroom_keys::unlock::Hint;

use crate::error::RepositoryError;
use crate::state::State;

const SCHEMA_VERSION: i64 = 2;
const SCHEMA: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE index_object (id BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE pack (
        no INTEGER PRIMARY KEY, id BLOB NOT NULL, description BLOB NOT NULL, kind INTEGER NOT NULL,
        trusted INTEGER NOT NULL, header BLOB NOT NULL, footer BLOB NOT NULL, UNIQUE (id, description));
    CREATE TABLE chunk (id BLOB NOT NULL, pack INTEGER NOT NULL, frame INTEGER NOT NULL, PRIMARY KEY (id, pack, frame)) WITHOUT ROWID;
    CREATE INDEX chunk_by_pack ON chunk (pack);";

/// The number of a pack in this cache; a pack that is described in several ways has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackNumber(i64);

/// Where a chunk or node lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The pack.
    pub pack: PackNumber,
    /// The frame's number in the pack.
    pub frame: u32,
}

/// A pack as the index describes it.
#[derive(Debug, Clone)]
pub struct PackEntry {
    /// The pack.
    pub id: PackId,
    /// Data or metadata.
    pub kind: ObjectKind,
    /// Its stored header.
    pub header: [u8; HEADER_LENGTH],
    /// Its footer.
    pub footer: Footer,
}

/// Where the cache lies and what may be believed for deduplication.
pub(crate) struct Cache {
    connection: Mutex<Connection>,
    path: String,
}

/// A pack as somebody describes it, and whether the footer's signature holds.
pub(crate) type DescribedPack = (IndexedPack, PackEntry, bool);

type Sql<T> = Result<T, rusqlite::Error>;

impl Cache {
    /// Opens the cache of the repository with this fingerprint below `folder`, or one in memory. What is stale,
    /// corrupt or another repository's is thrown away. The second result says what was wrong.
    pub(crate) fn open(
        folder: Option<&Path>,
        fingerprint: &str,
    ) -> Result<(Self, Option<String>), RepositoryError> {
        let Some(folder) = folder else { return Ok((Self::in_memory(fingerprint)?, None)) };
        let path = folder.join(fingerprint.replace(' ', "")).join("index.sqlite");
        let mut rebuilt = None;
        let opened = Self::open_file(&path, fingerprint).or_else(|error| {
            rebuilt = path.exists().then(|| {
                format!(
                    "the cache {} was unusable ({error}) and is built anew; what this host had seen of the journal is forgotten",
                    path.display()
                )
            });
            for suffix in ["", "-wal", "-shm"] {
                let mut name = path.clone().into_os_string();
                name.push(suffix);
                let _ = std::fs::remove_file(PathBuf::from(name));
            }
            Self::open_file(&path, fingerprint)
        });
        match opened {
            Ok(connection) => {
                Ok((Self { connection: Mutex::new(connection), path: path.display().to_string() }, rebuilt))
            }
            Err(error) => Ok((
                Self::in_memory(fingerprint)?,
                Some(format!("the cache {} cannot be used ({error}); working without it", path.display())),
            )),
        }
    }

    fn in_memory(fingerprint: &str) -> Result<Self, RepositoryError> {
        let path = "in memory".to_owned();
        let failed = |source| RepositoryError::Cache { path: path.clone(), source };
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        prepare(&mut connection, fingerprint).map_err(failed)?;
        Ok(Self { connection: Mutex::new(connection), path })
    }

    fn open_file(path: &Path, fingerprint: &str) -> Result<Connection, Box<dyn std::error::Error>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
            #[cfg(unix)]
            std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        }
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(60))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        prepare(&mut connection, fingerprint)?;
        Ok(connection)
    }

    /// Throws everything away and goes on in memory: for a cache whose disk is full or whose pages are corrupt.
    pub(crate) fn replace_by_memory(&self, fingerprint: &str) -> Result<(), RepositoryError> {
        let fresh = Self::in_memory(fingerprint)?;
        *self.lock() = fresh.connection.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(())
    }

    /// Where the cache lies.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T>(&self, query: impl FnOnce(&Connection) -> Sql<T>) -> Result<T, RepositoryError> {
        query(&self.lock()).map_err(|source| RepositoryError::Cache { path: self.path.clone(), source })
    }

    /// The journal's head as this host last saw it.
    pub(crate) fn remembered_head(&self) -> Result<Option<(u64, ContentHash)>, RepositoryError> {
        let value = self.meta("head")?;
        Ok(value.and_then(|value| {
            let (number, hash) = value.split_first_chunk::<8>()?;
            Some((u64::from_le_bytes(*number), ContentHash::try_from(hash).ok()?))
        }))
    }

    /// Remembers the journal's head.
    pub(crate) fn remember_head(&self, number: u64, hash: ContentHash) -> Result<(), RepositoryError> {
        self.set_meta("head", &[&number.to_le_bytes()[..], &hash.0].concat())
    }

    /// The entry whose checkpoint opening began with the last time; 0 for the first entry itself.
    pub(crate) fn start(&self) -> Option<u64> {
        Some(u64::from_le_bytes(self.meta("start").ok()??.try_into().ok()?))
    }

    /// Remembers where opening began, or to look anew.
    pub(crate) fn remember_start(&self, number: Option<u64>) {
        if self.start() == number {
            return;
        }
        let value = number.map_or(Vec::new(), |number| number.to_le_bytes().to_vec());
        if let Err(error) = self.set_meta("start", &value) {
            tracing::debug!(%error, "not remembered where opening began");
        }
    }

    /// Who opened which key, as this host last saw it. A cache that cannot be read remembers nothing.
    pub(crate) fn hints(&self) -> Vec<Hint> {
        let value = self.meta("hints").ok().flatten().unwrap_or_default();
        let pairs = value.chunks_exact(32).map(|pair| {
            let (key, recipient) = pair.split_at(16);
            Some(Hint { key: KeyId::try_from(key).ok()?, recipient: RecipientId::try_from(recipient).ok()? })
        });
        pairs.flatten().collect()
    }

    /// Remembers who opened which key; failing costs the next run a few requests.
    pub(crate) fn remember_hints(&self, hints: &[Hint]) {
        let value: Vec<u8> = hints.iter().flat_map(|hint| [hint.key.0, hint.recipient.0]).flatten().collect();
        if let Err(error) = self.set_meta("hints", &value) {
            tracing::debug!(%error, "not remembered who opened which key");
        }
    }

    /// A small value kept between runs.
    pub(crate) fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
        self.run(|connection| {
            connection
                .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()
        })
    }

    /// Keeps a small value between runs.
    pub(crate) fn set_meta(&self, key: &str, value: &[u8]) -> Result<(), RepositoryError> {
        self.run(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
                .execute(params![key, value])
                .map(drop)
        })
    }

    /// Brings the cache to `state`: forgets packs that no longer count, loads index objects that are new. One for
    /// which `load` gives `None` is asked for again the next time.
    ///
    /// # Errors
    /// `Cache`, and what `load` fails with.
    pub(crate) fn synchronize(
        &self,
        state: &State,
        me: Option<WriterId>,
        mut load: impl FnMut(&IndexRef) -> Result<Option<Vec<DescribedPack>>, RepositoryError>,
    ) -> Result<(), RepositoryError> {
        self.trust_for(state, me)?;
        let known: Vec<Vec<u8>> = self.run(|connection| {
            connection.prepare("SELECT id FROM index_object")?.query_map([], |row| row.get(0))?.collect()
        })?;
        let mut missing: BTreeMap<IndexId, IndexRef> = state.indexes.clone();
        let mut gone = Vec::new();
        for id in known {
            match IndexId::try_from(&id[..]) {
                Ok(known) if missing.remove(&known).is_some() => {}
                _ => gone.push(id),
            }
        }
        // Packs stop counting with their index objects, or because they are retired.
        let retired = (state.retired.len() as u64).to_le_bytes();
        let is_retired_known = self.meta("retired")?.unwrap_or(vec![0; 8]) == retired;
        if !gone.is_empty() || !is_retired_known {
            self.write(|transaction| forget(transaction, &gone, state))?;
        }
        if !is_retired_known {
            self.set_meta("retired", &retired)?;
        }
        for index in missing.values() {
            let Some(packs) = load(index)? else { continue };
            self.write(|transaction| {
                insert_counting(transaction, state, me, &packs)?;
                transaction
                    .prepare_cached("INSERT OR IGNORE INTO index_object VALUES (?1)")?
                    .execute([&index.id.0[..]])
                    .map(drop)
            })?;
        }
        self.trust_attested(state)
    }

    /// What is trusted depends on who asks and on the policy: what was noted for others is forgotten.
    fn trust_for(&self, state: &State, me: Option<WriterId>) -> Result<(), RepositoryError> {
        let me = me.map_or([0; 16], |me| me.0);
        let trust = [&me[..], &[state.policy.trust.number()]].concat();
        if self.meta("trust")?.as_deref() == Some(&trust) {
            return Ok(());
        }
        self.write(|transaction| {
            transaction.execute_batch("DELETE FROM chunk; DELETE FROM pack; DELETE FROM index_object;")?;
            transaction.execute("INSERT OR REPLACE INTO meta VALUES ('trust', ?1)", [trust])?;
            Ok(())
        })
    }

    /// Trusts what verifiers attested, in exactly the description that they attested.
    fn trust_attested(&self, state: &State) -> Result<(), RepositoryError> {
        if state.policy.trust != Trust::Attested || state.attested.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let mut trust = transaction.prepare_cached(
                "UPDATE pack SET trusted = 1 WHERE id = ?1 AND description = ?2 AND trusted = 0",
            )?;
            for (pack, description) in &state.attested {
                trust.execute(params![&pack.0[..], &description.0[..]])?;
            }
            Ok(())
        })
    }

    /// Adds what a pack says of itself.
    pub(crate) fn add(
        &self,
        state: &State,
        me: Option<WriterId>,
        pack: DescribedPack,
    ) -> Result<(), RepositoryError> {
        self.write(|transaction| insert_counting(transaction, state, me, &[pack]))
    }

    /// Packs that count and that no index object describes.
    pub(crate) fn undescribed(&self, state: &State) -> Result<Vec<PackRef>, RepositoryError> {
        let known: Vec<Vec<u8>> = self.run(|connection| {
            connection.prepare("SELECT DISTINCT id FROM pack")?.query_map([], |row| row.get(0))?.collect()
        })?;
        let known: BTreeSet<PackId> = known.iter().filter_map(|id| PackId::try_from(&id[..]).ok()).collect();
        Ok(state.packs.values().filter(|pack| !known.contains(&pack.id)).copied().collect())
    }

    fn write(&self, change: impl FnOnce(&Transaction<'_>) -> Sql<()>) -> Result<(), RepositoryError> {
        let attempt = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            change(&transaction)?;
            transaction.commit()
        };
        attempt(&mut self.lock()).map_err(|source| RepositoryError::Cache { path: self.path.clone(), source })
    }

    /// Every place where a chunk (of data packs) or node (of metadata packs) lies.
    pub(crate) fn locations(&self, kind: ObjectKind, id: ChunkId) -> Result<Vec<Location>, RepositoryError> {
        self.run(|connection| {
            connection
                .prepare_cached("SELECT chunk.pack, chunk.frame FROM chunk JOIN pack ON pack.no = chunk.pack WHERE chunk.id = ?1 AND pack.kind = ?2")?
                .query_map(params![&id.0[..], kind.number()], |row| Ok(Location { pack: PackNumber(row.get(0)?), frame: row.get(1)? }))?
                .collect()
        })
    }

    /// For each chunk the pack in which this writer may count it as present. It is given by its ID: another process
    /// that shares the cache may number it anew.
    pub(crate) fn trusted(
        &self,
        kind: ObjectKind,
        ids: &[ChunkId],
    ) -> Result<Vec<Option<PackId>>, RepositoryError> {
        self.run(|connection| {
            let mut query = connection
                .prepare_cached("SELECT pack.id FROM chunk JOIN pack ON pack.no = chunk.pack WHERE chunk.id = ?1 AND pack.kind = ?2 AND pack.trusted = 1 LIMIT 1")?;
            ids.iter().map(|id| query.query_row(params![&id.0[..], kind.number()], |row| row.get::<_, Vec<u8>>(0)).optional()).collect::<Sql<Vec<_>>>()
        })
        .map(|packs| packs.into_iter().map(|pack| PackId::try_from(&pack?[..]).ok()).collect())
    }

    /// A pack by its number.
    pub(crate) fn pack(&self, number: PackNumber) -> Result<Option<PackEntry>, RepositoryError> {
        self.pack_where("SELECT id, kind, header, footer FROM pack WHERE no = ?1", params![number.0])
    }

    /// All descriptions of a pack.
    pub(crate) fn numbers_of(&self, id: PackId) -> Result<Vec<PackNumber>, RepositoryError> {
        self.run(|connection| {
            connection
                .prepare_cached("SELECT no FROM pack WHERE id = ?1 ORDER BY no")?
                .query_map([&id.0[..]], |row| row.get(0).map(PackNumber))?
                .collect()
        })
    }

    /// Numbers of all packs.
    pub(crate) fn pack_numbers(&self) -> Result<Vec<PackNumber>, RepositoryError> {
        self.run(|connection| {
            connection
                .prepare("SELECT no FROM pack ORDER BY no")?
                .query_map([], |row| row.get(0).map(PackNumber))?
                .collect()
        })
    }

    fn pack_where(
        &self,
        query: &str,
        values: impl rusqlite::Params,
    ) -> Result<Option<PackEntry>, RepositoryError> {
        type Row = (Vec<u8>, u8, Vec<u8>, Vec<u8>);
        let row: Option<Row> = self.run(|connection| {
            connection
                .prepare_cached(query)?
                .query_row(values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                .optional()
        })?;
        Ok(row.and_then(|(id, kind, header, footer)| {
            // What does not decode is as good as absent: the caller loads the index again.
            Some(PackEntry {
                id: PackId::try_from(&id[..]).ok()?,
                kind: ObjectKind::try_from(u64::from(kind)).ok()?,
                header: header.try_into().ok()?,
                footer: Footer::decode(&footer).ok()?,
            })
        }))
    }
}

fn prepare(connection: &mut Connection, fingerprint: &str) -> Sql<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let same = version == SCHEMA_VERSION
        && connection
            .query_row("SELECT value FROM meta WHERE key = 'fingerprint'", [], |row| row.get::<_, Vec<u8>>(0))
            .optional()?
            .as_deref()
            == Some(fingerprint.as_bytes());
    if same {
        return Ok(());
    }
    if version != 0 {
        // Another schema or repository: the caller removes the file and starts over.
        return Err(rusqlite::Error::InvalidQuery);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.execute("INSERT INTO meta VALUES ('fingerprint', ?1)", [fingerprint.as_bytes()])?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()
}

fn forget(transaction: &Transaction<'_>, gone: &[Vec<u8>], state: &State) -> Sql<()> {
    for id in gone {
        transaction.prepare_cached("DELETE FROM index_object WHERE id = ?1")?.execute([id])?;
    }
    let packs: Vec<(i64, Vec<u8>)> = transaction
        .prepare("SELECT no, id FROM pack")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Sql<_>>()?;
    for (number, id) in packs {
        if !PackId::try_from(&id[..]).is_ok_and(|id| state.packs.contains_key(&id)) {
            transaction.prepare_cached("DELETE FROM chunk WHERE pack = ?1")?.execute([number])?;
            transaction.prepare_cached("DELETE FROM pack WHERE no = ?1")?.execute([number])?;
        }
    }
    Ok(())
}

fn insert_counting(
    transaction: &Transaction<'_>,
    state: &State,
    me: Option<WriterId>,
    packs: &[DescribedPack],
) -> Sql<()> {
    for (stored, entry, verified) in packs {
        // An index may repeat packs of others, or name packs that no entry brought: those never count. What nobody
        // signed is passed over.
        let counts = state
            .packs
            .get(&entry.id)
            .is_some_and(|pack| pack.kind == entry.kind && pack.length == entry.footer.pack_length);
        if *verified && counts {
            let own = me.is_some_and(|me| {
                state.brought_by.get(&entry.id) == Some(&me)
                    && entry.footer.signer == me
                    && entry.footer.authors.iter().all(|author| *author == me)
            });
            insert(transaction, stored, entry, own || state.policy.trust == Trust::All)?;
        }
    }
    Ok(())
}

fn insert(transaction: &Transaction<'_>, stored: &IndexedPack, entry: &PackEntry, trusted: bool) -> Sql<()> {
    // Whoever describes a pack wrongly must not hide what others say of it.
    let description = description(&stored.header, &stored.footer);
    let inserted = transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO pack (id, description, kind, trusted, header, footer) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            &entry.id.0[..],
            &description.0[..],
            entry.kind.number(),
            trusted,
            &stored.header[..],
            stored.footer
        ])?;
    if inserted == 0 {
        return Ok(());
    }
    let number = transaction.last_insert_rowid();
    let mut chunk = transaction.prepare_cached("INSERT OR IGNORE INTO chunk VALUES (?1, ?2, ?3)")?;
    for (at, frame) in entry.footer.frames.iter().enumerate() {
        for record in entry.footer.chunks_of(frame) {
            chunk.execute(params![&record.id.0[..], number, i64::try_from(at).unwrap_or(i64::MAX)])?;
        }
    }
    Ok(())
}

/// The hash of what a pack is said to be: its stored header and encoded footer.
pub(crate) fn description(header: &[u8; HEADER_LENGTH], footer: &[u8]) -> ContentHash {
    ContentHash(*blake3::Hasher::new().update(header).update(footer).finalize().as_bytes())
}

/// Decodes the packs of an index object.
pub(crate) fn decode_packs(
    object: &str,
    index: Index,
) -> Result<Vec<(IndexedPack, PackEntry)>, RepositoryError> {
    index
        .packs
        .into_iter()
        .map(|stored| {
            let header = stored.decoded_header().map_err(RepositoryError::malformed(object))?;
            let footer = Footer::decode(&stored.footer).map_err(RepositoryError::malformed(object))?;
            let entry = PackEntry { id: stored.id, kind: header.kind, header: stored.header, footer };
            Ok((stored, entry))
        })
        .collect()
}
