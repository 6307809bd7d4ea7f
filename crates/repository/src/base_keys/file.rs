//! The file in which a host keeps data keys: beside its index, with a lock and a name of its own, so that whoever copies
//! or mends the database has none of them; sealed, so that whoever copies the folder has none either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use strongroom_format::policy::BASE_KEYS_LIMIT;
use strongroom_format::{KeyId, Salt, WriterId};
use strongroom_keys::random::{self, Random};
use strongroom_keys::seal::MetadataKey;
use strongroom_keys::{KeysError, Secret, local};
use zeroize::Zeroizing;

use crate::keyring::MetadataKeys;

const PREFIX: &str = "base-keys-";
/// Of a file that is being written.
const NEW: &str = ".new";
const LOCK: &str = "base-keys.lock";
/// What the bytes are for; the writer's ID follows.
const LABEL: &[u8] = b"base keys of ";
const KEY_BYTES: usize = 16;
/// A key ID and the key.
const ITEM_BYTES: usize = KEY_BYTES + 32;
/// Longest file that this program writes, and more.
const FILE_LIMIT_BYTES: u64 = 4096;

const _: () = assert!((BASE_KEYS_LIMIT as usize * ITEM_BYTES + 128) as u64 <= FILE_LIMIT_BYTES);

/// A data key of an earlier run.
pub(crate) struct KeptKey {
    pub(crate) id: KeyId,
    pub(crate) secret: Secret,
}

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Sealed(#[from] KeysError),
    #[error("it is not a list of keys")]
    Malformed,
}

/// The file of one writer.
pub(super) struct KeyFile {
    folder: PathBuf,
    writer: WriterId,
}

impl KeyFile {
    pub(super) fn new(folder: &Path, writer: WriterId) -> Self {
        Self { folder: folder.to_owned(), writer }
    }

    /// The files of a folder, whose ever they are.
    pub(super) fn all(folder: &Path) -> Vec<Self> {
        let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let writers = names.filter_map(|name| {
            let name = name.to_str()?.strip_prefix(PREFIX)?;
            let digits = hex::decode(name.strip_suffix(NEW).unwrap_or(name)).ok()?;
            WriterId::try_from(&digits[..]).ok()
        });
        writers.map(|writer| Self::new(folder, writer)).collect()
    }

    pub(super) fn writer(&self) -> WriterId {
        self.writer
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(format!("{PREFIX}{}", self.writer.to_hex()))
    }

    fn path_of_new(&self) -> PathBuf {
        self.folder.join(format!("{PREFIX}{}{NEW}", self.writer.to_hex()))
    }

    /// Held while a file is read and written: runs that end at the same time lose no key.
    pub(super) fn lock(&self) -> io::Result<File> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(self.folder.join(LOCK))?;
        file.lock()?;
        Ok(file)
    }

    /// The keys, newest first; none where there is no file.
    pub(super) fn read(&self, metadata: &MetadataKeys) -> Result<Vec<KeptKey>, FileError> {
        let file = match File::open(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let mut sealed = Vec::new();
        file.take(FILE_LIMIT_BYTES + 1).read_to_end(&mut sealed)?;
        let plain = metadata.get(local::key_of(&sealed)?)?.open_local(&self.label(), &sealed)?;
        if plain.len() % ITEM_BYTES != 0 {
            return Err(FileError::Malformed);
        }
        plain.chunks_exact(ITEM_BYTES).map(decode).collect::<Option<_>>().ok_or(FileError::Malformed)
    }

    /// Replaces the file, at once; nobody else may read it. Without keys there is none.
    pub(super) fn write(
        &self,
        keys: &[KeptKey],
        metadata: &MetadataKey,
        random: &dyn Random,
    ) -> Result<(), FileError> {
        if keys.is_empty() {
            return Ok(self.remove()?);
        }
        // All at once: a vector that grows leaves copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(keys.len() * ITEM_BYTES));
        for key in keys {
            plain.extend_from_slice(&key.id.0);
            plain.extend_from_slice(key.secret.expose());
        }
        let sealed = metadata.seal_local(&self.label(), &plain, Salt(random::array(random)?))?;
        let new = self.path_of_new();
        remove_if_there(&new)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        Ok(fs::rename(&new, self.path())?)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        remove_if_there(&self.path_of_new())?;
        remove_if_there(&self.path())
    }

    fn label(&self) -> Vec<u8> {
        [LABEL, &self.writer.0].concat()
    }
}

fn decode(item: &[u8]) -> Option<KeptKey> {
    let (id, secret) = item.split_first_chunk::<KEY_BYTES>()?;
    let secret: Zeroizing<[u8; 32]> = Zeroizing::new(secret.try_into().ok()?);
    Some(KeptKey { id: KeyId(*id), secret: Secret::new(*secret) })
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
