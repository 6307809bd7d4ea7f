//! This program, told once more what it was told: for those who run it elsewhere, in another environment.

use std::path::Path;

use crate::arguments::Global;

/// The words that say which repository, how it is reached and opened, with every path from the root; `default_key` opens it
/// where nothing else was named.
pub(crate) fn words(global: &Global, default_key: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let mut add = |switch: &str, value: String| words.extend([switch.to_owned(), value]);
    let absolute = |path: &Path| anyhow::Ok(std::path::absolute(path)?.to_string_lossy().into_owned());
    if let Some(location) = &global.repo {
        let is_folder = !location.contains("://");
        add("--repo", if is_folder { absolute(Path::new(location))? } else { location.clone() });
    }
    let default_key = default_key.filter(|_| global.passphrase_file.is_none());
    for (switch, path) in [
        ("--key-file", global.key_file.as_deref().or(default_key)),
        ("--passphrase-file", global.passphrase_file.as_deref()),
        ("--ca-cert", global.store.ca_cert.as_deref()),
    ] {
        if let Some(path) = path {
            add(switch, absolute(path)?);
        }
    }
    let store = &global.store;
    for (switch, value) in [
        ("--fingerprint", &global.fingerprint),
        ("--writer", &global.writer),
        ("--hot-store", &store.hot_store),
        ("--region", &store.region),
        ("--endpoint", &store.endpoint),
    ] {
        if let Some(value) = value {
            add(switch, value.clone());
        }
    }
    if let Some(path_style) = store.path_style {
        add("--path-style", path_style.to_string());
    }
    Ok(words)
}
