//! A repository of very many snapshots.

use std::path::Path;
use std::time::Instant;

use strongroom_chunker::ChunkerParams;
use strongroom_format::path::EntryPath;
use strongroom_format::tree_entry::{Content, EntryKind, TreeEntry};
use strongroom_keys::Secret;
use strongroom_repository::monitor::Silent;
use strongroom_repository::{OpenOptions, RepositoryError};

use super::{KEY, Result, backup_options, new_repository, open_options};

/// Sources that snapshots are of.
const SOURCES: u64 = 10;

/// Makes a repository of so many small snapshots, with a key file `key` beside it.
pub(super) fn make(folder: &Path, count: &str) -> Result<()> {
    let count: u64 = count.parse()?;
    let options = OpenOptions { cache_folder: Some(folder.join("cache")), ..open_options() };
    let (mut repository, fingerprint) = new_repository(folder, options)?;
    let text = strongroom_keys::key_file::encode(&Secret::new(KEY), &fingerprint);
    std::fs::write(folder.join("key"), text.as_bytes())?;
    let started = Instant::now();
    for number in 0..count {
        let options = backup_options(format!("db-{}", number % SOURCES), "stdin");
        repository.backup(&options, &Silent, |sink| {
            let path = EntryPath::new("stream")
                .map_err(|source| RepositoryError::Unstorable { what: "a path".into(), source })?;
            let mut lane = sink.stream_lane(ChunkerParams::default())?;
            let bytes = lane.content(&"stream", &mut &number.to_le_bytes()[..])?;
            sink.cut(b"stream".to_vec(), ChunkerParams::default(), bytes);
            let kind = EntryKind::Stream(Content::Inline(vec![]));
            lane.end(TreeEntry { path, kind, metadata: None, link_to: None })?;
            lane.finish()
        })?;
    }
    println!("seconds {:.2} snapshots {count}", started.elapsed().as_secs_f64());
    Ok(())
}
