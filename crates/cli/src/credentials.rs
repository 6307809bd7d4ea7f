//! Passphrases and key files: where they come from. Never from arguments, never into logs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use strongroom_keys::Secret;
use strongroom_keys::key_file::{self, KeyFile};
use strongroom_keys::kms::{AwsKms, AwsKmsOptions, Kms};
use strongroom_keys::unlock::Credential;
use strongroom_store::aws::AwsOptions;
use zeroize::Zeroizing;

use crate::arguments::Global;

/// Shortest passphrase of a new repository, characters.
const PASSPHRASE_CHARACTERS: usize = 8;

/// The credentials given by argument, environment, or found as this user's key file for the repository.
pub(crate) fn gather(global: &Global, fingerprint: &str) -> anyhow::Result<Vec<Credential>> {
    let mut found = Vec::new();
    if let Some(path) = &global.key_file {
        found.push(credential(read_key_file(path)?));
    }
    if let Some(passphrase) = passphrase(global)? {
        found.push(Credential::Passphrase(passphrase));
    }
    // Without a home folder there is no default.
    if let Ok(default) = default_key_file(fingerprint)
        && global.key_file.is_none()
        && default.exists()
    {
        found.push(credential(read_key_file(&default)?));
    }
    Ok(found)
}

fn credential(key: KeyFile) -> Credential {
    match key {
        KeyFile::Symmetric(key) => Credential::KeyFile(key),
        KeyFile::X25519(private) => Credential::X25519(private),
    }
}

/// AWS KMS; nothing is asked of it before a key needs it.
pub(crate) fn kms(global: &Global) -> Arc<dyn Kms> {
    let aws = AwsOptions { ca_bundle: global.store.ca_cert.clone(), ..AwsOptions::default() };
    Arc::new(AwsKms::new(AwsKmsOptions { aws, ..AwsKmsOptions::default() }))
}

/// The passphrase from the environment or the passphrase file.
pub(crate) fn passphrase(global: &Global) -> anyhow::Result<Option<Zeroizing<String>>> {
    if let Some(path) = &global.passphrase_file {
        let text = Zeroizing::new(
            fs::read_to_string(path)
                .with_context(|| format!("cannot read the passphrase file {}", path.display()))?,
        );
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            bail!("the passphrase file {} is empty", path.display());
        }
        return Ok(Some(Zeroizing::new(line.to_owned())));
    }
    match std::env::var("STRONGROOM_PASSPHRASE") {
        Ok(text) if !text.is_empty() => Ok(Some(Zeroizing::new(text))),
        Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bail!("STRONGROOM_PASSPHRASE is not UTF-8"),
    }
}

/// Asks for a passphrase, when there is a person to ask.
pub(crate) fn ask(prompt: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
    if !std::io::IsTerminal::is_terminal(&std::io::stdin())
        || !std::io::IsTerminal::is_terminal(&std::io::stderr())
    {
        return Ok(None);
    }
    Ok(Some(Zeroizing::new(rpassword::prompt_password(prompt).context("cannot ask for the passphrase")?)))
}

/// A new passphrase: given, or asked for twice.
pub(crate) fn new_passphrase(global: &Global) -> anyhow::Result<Zeroizing<String>> {
    let passphrase = match passphrase(global)? {
        Some(given) => given,
        None => {
            let first = ask("New passphrase: ")?
                .context("a passphrase is needed: put it into STRONGROOM_PASSPHRASE or --passphrase-file")?;
            if ask("The same again: ")?.is_none_or(|second| *second != *first) {
                bail!("the two passphrases are not the same");
            }
            first
        }
    };
    if passphrase.chars().count() < PASSPHRASE_CHARACTERS {
        bail!(
            "a passphrase of fewer than {PASSPHRASE_CHARACTERS} characters is guessed in no time: choose a longer one, or use a key file"
        );
    }
    Ok(passphrase)
}

/// Reads a key file.
pub(crate) fn read_key_file(path: &Path) -> anyhow::Result<KeyFile> {
    let text = Zeroizing::new(
        fs::read_to_string(path).with_context(|| format!("cannot read the key file {}", path.display()))?,
    );
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        eprintln!(
            "warning: the key file {} can be read by others (mode {:04o}); chmod 600 it",
            path.display(),
            mode & 0o7777
        );
    }
    key_file::decode(&text).with_context(|| path.display().to_string())
}

/// Where `init` puts the key of a repository: `$XDG_CONFIG_HOME/strongroom/keys/<fingerprint>.key`.
pub(crate) fn default_key_file(fingerprint: &str) -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("XDG_CONFIG_HOME").filter(|value| Path::new(value).is_absolute()) {
        Some(folder) => PathBuf::from(folder),
        None => home()?.join(".config"),
    };
    Ok(folder.join("strongroom").join("keys").join(format!("{}.key", fingerprint.replace(' ', ""))))
}

/// Where caches lie: `$XDG_CACHE_HOME/strongroom`.
pub(crate) fn default_cache_folder() -> anyhow::Result<PathBuf> {
    match std::env::var_os("XDG_CACHE_HOME").filter(|value| Path::new(value).is_absolute()) {
        Some(folder) => Ok(PathBuf::from(folder).join("strongroom")),
        None => Ok(home()?.join(".cache").join("strongroom")),
    }
}

/// Where lies what this host must not lose: `$XDG_STATE_HOME/strongroom`.
pub(crate) fn default_state_folder() -> anyhow::Result<PathBuf> {
    match std::env::var_os("XDG_STATE_HOME").filter(|value| Path::new(value).is_absolute()) {
        Some(folder) => Ok(PathBuf::from(folder).join("strongroom")),
        None => Ok(home()?.join(".local").join("state").join("strongroom")),
    }
}

fn home() -> anyhow::Result<PathBuf> {
    std::env::home_dir()
        .filter(|home| !home.as_os_str().is_empty())
        .context("this user has no home folder: set HOME, or give --key-file and --cache-dir")
}

/// Writes a new key file, readable by its owner only, durably; never over another file.
pub(crate) fn write_key_file(path: &Path, key: &Secret, fingerprint: &str) -> anyhow::Result<()> {
    write_private(path, key_file::encode(key, fingerprint).as_bytes())
}

/// Writes a new file with a secret, readable by its owner only, durably; never over another file.
pub(crate) fn write_private(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("cannot write the key file {}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).create(folder).with_context(failed)?;
    }
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(failed)?;
    file.write_all(text).with_context(failed)?;
    file.sync_all().with_context(failed)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)?;
    }
    Ok(())
}
