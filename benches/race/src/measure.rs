//! One measured run of one command.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rustix::pipe::SpliceFlags;
use serde::{Deserialize, Serialize};

const BUFFER_BYTES: usize = 1 << 20;
/// The most that a pipe may hold without privileges: with the usual 64 KiB, pipes would be what is measured.
const PIPE_BYTES: usize = 1 << 20;

/// What one run took.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Measurement {
    /// From start to end.
    pub seconds: f64,
    /// User and system time of the process and its children.
    pub cpu_seconds: f64,
    /// The largest resident set of any one process.
    pub peak_mib: u64,
    /// Seconds of threads' time by stage, where the command reports them.
    pub stages: BTreeMap<String, f64>,
}

impl Measurement {
    /// Both, one after the other.
    #[must_use]
    pub fn and(mut self, next: Self) -> Self {
        self.seconds += next.seconds;
        self.cpu_seconds += next.cpu_seconds;
        self.peak_mib = self.peak_mib.max(next.peak_mib);
        for (stage, seconds) in next.stages {
            *self.stages.entry(stage).or_default() += seconds;
        }
        self
    }
}

/// What goes into the command and what comes out of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Streams<'a> {
    /// Its standard input, through a pipe; nothing if there is none.
    pub feed: Option<&'a Path>,
    /// What becomes of its standard output.
    pub output: Output<'a>,
}

/// What becomes of a command's standard output.
#[derive(Debug, Clone, Copy, Default)]
pub enum Output<'a> {
    /// It is what the command has to say: stages are looked for in it.
    #[default]
    Said,
    /// It goes through a pipe to nowhere.
    Dropped,
    /// It goes through a pipe and must be this file. Comparing takes a processor of its own.
    Same(&'a Path),
}

/// Runs a command under GNU time (the only way to a child's peak memory without unsafe code).
///
/// # Errors
/// When it fails, or its output is not what was expected.
pub fn run(time: &Path, command: &Command, streams: Streams<'_>) -> Result<Measurement> {
    let scratch = tempfile::tempdir().context("no temporary folder")?;
    let [figures, printed, said] = ["figures", "printed", "said"].map(|name| scratch.path().join(name));
    let create = |path| File::create(path).context("cannot make a file for what a command says");
    let mut timed = Command::new(time);
    timed.args(["--format", "%U %S %M", "--output"]).arg(&figures);
    timed.arg(command.get_program()).args(command.get_args());
    timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    timed.current_dir(command.get_current_dir().unwrap_or(Path::new(".")));
    timed.stdin(if streams.feed.is_some() { Stdio::piped() } else { Stdio::null() });
    timed.stdout(match streams.output {
        Output::Said => create(&printed)?.into(),
        Output::Dropped | Output::Same(_) => Stdio::piped(),
    });
    timed.stderr(create(&said)?);

    let started = Instant::now();
    let mut child = timed.spawn().context("cannot run GNU time")?;
    let feeder = match (streams.feed, child.stdin.take()) {
        (Some(path), Some(stdin)) => {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            let _widened = rustix::pipe::fcntl_setpipe_size(&stdin, PIPE_BYTES);
            Some(thread::spawn(move || splice(&file, &stdin)))
        }
        _ => None,
    };
    let same = match (streams.output, child.stdout.take()) {
        (Output::Same(path), Some(stdout)) => {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            let _widened = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
            same_bytes(file, stdout).context("cannot read what was restored")?
        }
        (Output::Dropped, Some(stdout)) => {
            let nowhere =
                OpenOptions::new().write(true).open("/dev/null").context("cannot open /dev/null")?;
            let _widened = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
            splice(&stdout, &nowhere).context("cannot read what was restored")?;
            true
        }
        _ => true,
    };
    let status = child.wait().context("cannot wait for the command")?;
    let seconds = started.elapsed().as_secs_f64();
    let fed = feeder.map(thread::JoinHandle::join);
    let [printed, said] = [printed, said].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    ensure!(status.success(), "{status}: {}", said.trim());
    match fed {
        Some(Ok(Err(error))) => return Err(error).context("it did not read all of its input"),
        Some(Err(_)) => bail!("the thread that feeds it panicked"),
        Some(Ok(Ok(()))) | None => {}
    }
    ensure!(same, "what was restored is not what was backed up");
    let measurement = parse(&std::fs::read_to_string(&figures).context("GNU time wrote nothing")?)?;
    // A command whose output is data reports on standard error.
    let stages = stages(&printed).or_else(|| stages(&said)).unwrap_or_default();
    Ok(Measurement { seconds, stages, ..measurement })
}

/// The length of all files below a folder.
///
/// # Errors
/// When it cannot be listed.
pub fn stored_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        let metadata =
            entry.metadata().with_context(|| format!("cannot look at {}", entry.path().display()))?;
        bytes += if metadata.is_dir() { stored_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// `20.50 1.25 204800`: user and system seconds, and the peak in KiB.
fn parse(figures: &str) -> Result<Measurement> {
    let line = figures.lines().last().unwrap_or_default();
    let parts: Vec<&str> = line.split(' ').collect();
    let [user, system, peak_kib] = parts.as_slice() else { bail!("GNU time wrote {line:?}") };
    let number = |text: &str| text.parse::<f64>().with_context(|| format!("GNU time wrote {line:?}"));
    let peak_kib: u64 = peak_kib.parse().with_context(|| format!("GNU time wrote {line:?}"))?;
    let cpu_seconds = number(user)? + number(system)?;
    Ok(Measurement { cpu_seconds, peak_mib: peak_kib / 1024, ..Measurement::default() })
}

/// Of the last line that is a JSON object with `stages`: seconds by name.
fn stages(said: &str) -> Option<BTreeMap<String, f64>> {
    #[derive(Deserialize)]
    struct Summary {
        stages: BTreeMap<String, f64>,
    }
    let summary = |line| serde_json::from_str(line).ok().map(|Summary { stages }| stages);
    said.lines().rev().find_map(summary)
}

/// Moves all bytes from one to the other, one of which is a pipe: copying them would take time from what is measured.
fn splice(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    while rustix::pipe::splice(&from, None, &to, None, PIPE_BYTES, SpliceFlags::empty())? > 0 {}
    Ok(())
}

/// Whether both give the same bytes. Reads the second to its end even so, or its writer would fail of that.
fn same_bytes(first: impl Read, mut second: impl Read) -> io::Result<bool> {
    let mut first = BufReader::with_capacity(BUFFER_BYTES, first);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut same = true;
    loop {
        let length = second.read(&mut buffer)?;
        let mut rest = &buffer[..length];
        if length == 0 {
            return Ok(same && first.fill_buf()?.is_empty());
        }
        while same && !rest.is_empty() {
            let wanted = first.fill_buf()?;
            let common = wanted.len().min(rest.len());
            same = common > 0 && wanted[..common] == rest[..common];
            first.consume(common);
            rest = &rest[common..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let figures = "Command exited with non-zero status 1\n20.50 1.25 204800\n";
        let measurement = parse(figures).unwrap();
        assert_eq!((measurement.cpu_seconds, measurement.peak_mib), (21.75, 200));
        assert!(parse("").is_err());
        assert!(parse("1 2 x").is_err());
    }

    #[test]
    fn stages_are_read() {
        let said = "{\"type\":\"note\"}\n{\"type\":\"backup\",\"stages\":{\"hash\":1.5,\"store\":0}}\nbye\n";
        let expected = BTreeMap::from([("hash".to_owned(), 1.5), ("store".to_owned(), 0.0)]);
        assert_eq!(stages(said), Some(expected));
        assert_eq!(stages("{\"type\":\"backup\"}\n"), None);
        assert_eq!(stages(""), None);
    }

    #[test]
    fn what_runs_one_after_the_other_adds_up() {
        let one = |seconds, peak_mib, stage: &str| Measurement {
            seconds,
            cpu_seconds: 1.0,
            peak_mib,
            stages: BTreeMap::from([(stage.to_owned(), seconds)]),
        };
        let both = one(1.0, 70, "hash").and(one(2.0, 50, "hash"));
        assert_eq!((both.seconds, both.cpu_seconds, both.peak_mib), (3.0, 2.0, 70));
        assert_eq!(both.stages, one(3.0, 0, "hash").stages);
    }

    #[test]
    fn differing_bytes_are_seen() {
        assert!(same_bytes(&b"abc"[..], &b"abc"[..]).unwrap());
        assert!(same_bytes(&b""[..], &b""[..]).unwrap());
        for (one, other) in [("abc", "abd"), ("abc", "ab"), ("ab", "abc"), ("", "a"), ("a", "")] {
            assert!(!same_bytes(one.as_bytes(), other.as_bytes()).unwrap(), "{one} {other}");
        }
        let long = vec![7; BUFFER_BYTES * 2 + 5];
        assert!(same_bytes(&long[..], (&long[..9]).chain(&long[9..])).unwrap());
    }

    #[test]
    fn files_of_all_depths_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/c"), "123").unwrap();
        std::fs::write(folder.path().join("d"), "45").unwrap();
        assert_eq!(stored_bytes(folder.path()).unwrap(), 5);
    }
}
