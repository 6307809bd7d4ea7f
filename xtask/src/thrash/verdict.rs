//! When all is quiet: what was committed is there and restores, what was forgotten is not, and a check finds no damage.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Run;
use super::contents::Contents;
use super::ledger::Made;

/// Says what was found; an error if anything is not as it must be.
pub(super) fn of(run: &Run) -> Result<String> {
    clean(run)?;
    let listed = listed(run)?;
    for (id, made) in run.ledger.live() {
        match listed.get(&id) {
            Some(found) if *found == made => {}
            found => bail!("snapshot {id} of {made:?} was committed and not forgotten, and is {found:?}"),
        }
    }
    for (id, made) in &listed {
        ensure!(!run.ledger.is_forgotten(id), "snapshot {id} of {made:?} was forgotten, and is listed");
        restore(run, id, *made).with_context(|| format!("snapshot {id} of {made:?}"))?;
    }
    // The leftovers of everything that was killed go, and nothing else does.
    run.place.finish(
        "verdict",
        "verdict",
        &["prune", "--grace", "0", "--orphan-age", "0", "--max-unused", "0"],
    )?;
    clean(run)?;
    Ok(format!(
        "{} snapshots restored byte for byte, {} of them known to be committed; no damage, before and after a last prune",
        listed.len(),
        run.ledger.live().len()
    ))
}

/// Nothing worse than leftovers.
fn clean(run: &Run) -> Result<()> {
    let said = run.place.finish("verdict", "verdict", &["check", "--read-data", "--keys"])?;
    let worse: Vec<String> = said
        .iter()
        .filter(|line| line["type"] == "finding" && line["severity"] != "info")
        .map(Value::to_string)
        .collect();
    ensure!(worse.is_empty(), "the last check found\n{}", worse.join("\n"));
    Ok(())
}

/// All snapshots, with what their source and tag say of them.
fn listed(run: &Run) -> Result<BTreeMap<String, Made>> {
    let mut listed = BTreeMap::new();
    for line in run.place.finish("verdict", "verdict", &["snapshots"])? {
        let part = |value: &Value, prefix: &str| -> Option<u64> {
            value.as_str()?.strip_prefix(prefix)?.parse().ok()
        };
        let made = part(&line["source"], "writer-").zip(part(&line["tags"][0], "round-"));
        let (id, (writer, round)) =
            line["id"].as_str().zip(made).with_context(|| format!("what is this snapshot? {line}"))?;
        listed.insert(id.to_owned(), Made { writer, round });
    }
    Ok(listed)
}

fn restore(run: &Run, id: &str, made: Made) -> Result<()> {
    let Made { writer, round } = made;
    if !Contents::is_files(writer) {
        run.place.finish("verdict", "verdict", &["cat", id, "stream"])?;
        let found = fs::read(run.place.path("verdict.out")).context("cannot read what was restored")?;
        ensure!(found == run.contents.stream(writer, round), "the stream is another one");
        return Ok(());
    }
    let target = run.place.path("restored");
    let folder = run.place.path(&format!("writer-{writer}"));
    let [target_text, folder] = [&target, &folder].map(|path| path.to_string_lossy().into_owned());
    run.place.finish(
        "verdict",
        "verdict",
        &["restore", id, "--subtree", folder.trim_start_matches('/'), "--target", &target_text],
    )?;
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&target).context("nothing was restored")? {
        let entry = entry.context("cannot list what was restored")?;
        let content = fs::read(entry.path()).context("cannot read what was restored")?;
        found.insert(entry.file_name().to_string_lossy().into_owned(), content);
    }
    let expected = run.contents.files(writer, round);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>().join(" ");
    ensure!(found.len() == expected.len(), "{} were restored, not {}", names(&found), names(&expected));
    for (name, content) in expected {
        ensure!(found.get(&name) == Some(&content), "{name} differs");
    }
    fs::remove_dir_all(&target).context("cannot clean up")
}
