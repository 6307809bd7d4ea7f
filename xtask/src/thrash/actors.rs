//! Those who share the repository: each runs the binary again and again, and kills it now and then.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Run;
use super::contents::{Contents, Random};
use super::ledger::{KEPT, Made};
use super::place::Ended;

/// One who runs the binary.
struct Actor<'a> {
    run: &'a Run,
    name: String,
    cache: String,
    random: Random,
    /// Of a hundred processes so many are killed.
    kills_percent: u64,
    /// How long the last one took that was not killed: the next kill comes at any moment of that time.
    usual: Duration,
}

impl Actor<'_> {
    fn run(&mut self, arguments: &[&str], input: Option<&Path>) -> Result<Ended> {
        let kills = self.random.below(100) < self.kills_percent;
        let usual = u64::try_from(self.usual.as_micros()).unwrap_or(u64::MAX);
        let kill_after = kills.then(|| Duration::from_micros(self.random.below(usual.max(1))));
        let started = Instant::now();
        let ended = self.run.place.run(&self.name, &self.cache, arguments, input, kill_after)?;
        match ended {
            Ended::Well(_) => self.usual = started.elapsed(),
            Ended::Killed => self.run.ledger.count(|counts| counts.kills += 1),
            Ended::Again => self.run.ledger.count(|counts| counts.run_again += 1),
        }
        Ok(ended)
    }
}

/// Goes on until the run is over, or something fails.
fn repeat(
    run: &Run,
    name: &str,
    cache: &str,
    kills_percent: u64,
    mut act: impl FnMut(&mut Actor<'_>, u64) -> Result<()>,
) {
    let words: Vec<u64> = std::iter::once(run.seed).chain(name.bytes().map(u64::from)).collect();
    let mut actor = Actor {
        run,
        name: name.to_owned(),
        cache: cache.to_owned(),
        random: Random::new(&words),
        kills_percent,
        usual: Duration::from_millis(500),
    };
    for round in 0.. {
        if run.is_over() {
            break;
        }
        if let Err(error) = act(&mut actor, round) {
            run.fail(name, &error);
        }
    }
}

/// Backs up, round after round. Two writers each are processes of one host, with one cache.
pub(super) fn write(run: &Run, writer: u64) {
    let name = format!("writer-{writer}");
    let folder = run.place.path(&name);
    repeat(run, &name, &format!("host-{}", writer / 2), 40, |actor, round| {
        let made = Made { writer, round };
        let tag = format!("round-{round}");
        let mut common = vec!["--source", &name, "--tag", &tag];
        // Everything anew, so that this depends on nothing but the index.
        let is_forced = Contents::is_files(writer) && actor.random.below(4) == 0;
        if is_forced {
            common.push("--force");
        }
        run.ledger.begin(made);
        let ended = if Contents::is_files(writer) {
            lay_out(&run.contents, made, &folder)?;
            let path = folder.to_string_lossy().into_owned();
            actor.run(&[&["backup", "files", &path], &common[..]].concat(), None)?
        } else {
            let input = folder.with_extension("stream");
            fs::write(&input, run.contents.stream(writer, round)).context("cannot write a stream")?;
            actor.run(&[&["backup", "stdin", "--name", "stream"], &common[..]].concat(), Some(&input))?
        };
        if let Ended::Well(said) = ended {
            let id =
                said.iter().find(|line| line["type"] == "backup").and_then(|line| line["snapshot"].as_str());
            run.ledger.committed(id.context("a backup did not name its snapshot")?, made);
        }
        Ok(())
    });
}

/// Writes what has changed, and nothing else: what has not is for the backup to take over.
fn lay_out(contents: &Contents, made: Made, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context("no folder for the files")?;
    let files = contents.files(made.writer, made.round);
    for entry in fs::read_dir(folder).context("cannot list the files")? {
        let entry = entry.context("cannot list the files")?;
        if !files.contains_key(&*entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).context("cannot remove a file")?;
        }
    }
    for (name, content) in files {
        let path = folder.join(name);
        if fs::read(&path).ok().as_ref() != Some(&content) {
            fs::write(&path, content).context("cannot write a file")?;
        }
    }
    Ok(())
}

/// Forgets and prunes by turns. Nothing is spared: no grace, and now and then not even what runs under way have stored.
pub(super) fn prune(run: &Run) {
    repeat(run, "pruner", "pruner", 40, |actor, _| {
        let keep = KEPT.to_string();
        match actor.run(&["forget", "--keep-last", &keep], None)? {
            Ended::Well(said) => run.ledger.forgot(&forgotten(&said)),
            Ended::Killed | Ended::Again => run.ledger.may_have_forgotten(),
        }
        let orphan_age = if actor.random.below(4) == 0 { "0" } else { "1h" };
        let options = ["prune", "--grace", "0", "--max-unused", "0", "--orphan-age", orphan_age];
        if let Ended::Well(said) = actor.run(&options, None)? {
            let report =
                said.iter().find(|line| line["type"] == "prune").context("a prune did not report")?;
            let number = |what: &str| report[what]["objects"].as_u64().unwrap_or_default();
            run.ledger.count(|counts| {
                counts.prunes += 1;
                counts.copied += number("copied");
                counts.deleted += number("deleted");
            });
        }
        Ok(())
    });
}

fn forgotten(said: &[Value]) -> Vec<String> {
    let lines = said.iter().filter(|line| line["type"] == "forget");
    lines.filter_map(|line| Some(line["snapshot"].as_str()?.to_owned())).collect()
}

/// Checks again and again, now and then all that is stored, with a key or without.
pub(super) fn check(run: &Run) {
    repeat(run, "checker", "checker", 20, |actor, _| {
        let arguments: &[&str] = match actor.random.below(4) {
            0 => &["check", "--read-data"],
            1 => &["check", "--no-key"],
            _ => &["check"],
        };
        if let Ended::Well(_) = actor.run(arguments, None)? {
            run.ledger.count(|counts| counts.checks += 1);
        }
        Ok(())
    });
}
