//! One measured run of one command.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

const BUFFER_BYTES: usize = 1 << 20;

/// What one run took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Measurement {
    pub(crate) seconds: f64,
    /// User and system time of the process and its children.
    pub(crate) cpu_seconds: f64,
    /// The largest resident set of any one process.
    pub(crate) peak_mib: u64,
    /// The length of the repository's files afterwards.
    pub(crate) stored_bytes: u64,
}

/// What goes into the command and what must come out of it.
#[derive(Clone, Copy)]
pub(crate) struct Streams<'a> {
    pub(crate) feed: Option<&'a Path>,
    pub(crate) expect: Option<&'a Path>,
}

/// Runs a command under GNU time (the only way to a child's peak memory without unsafe code).
///
/// # Errors
/// When it fails, or its output is not what was expected.
pub(crate) fn run(time: &Path, command: &Command, streams: Streams<'_>) -> Result<Measurement> {
    let scratch = tempfile::tempdir().context("no temporary folder")?;
    let (figures, said) = (scratch.path().join("figures"), scratch.path().join("said"));
    let mut timed = Command::new(time);
    timed.args(["--format", "%e %U %S %M", "--output"]).arg(&figures);
    timed.arg(command.get_program()).args(command.get_args());
    timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    timed.current_dir(command.get_current_dir().unwrap_or(Path::new(".")));
    timed.stdin(if streams.feed.is_some() { Stdio::piped() } else { Stdio::null() });
    timed.stdout(if streams.expect.is_some() { Stdio::piped() } else { Stdio::null() });
    timed.stderr(File::create(&said).context("cannot make a file for standard error")?);

    let mut child = timed.spawn().context("cannot run GNU time")?;
    let feeder = match (streams.feed, child.stdin.take()) {
        (Some(path), Some(mut stdin)) => {
            let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            Some(thread::spawn(move || io::copy(&mut file, &mut stdin)))
        }
        _ => None,
    };
    let same = match (streams.expect, child.stdout.take()) {
        (Some(path), Some(stdout)) => {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            same_bytes(file, stdout).context("cannot read what was restored")?
        }
        _ => true,
    };
    let status = child.wait().context("cannot wait for the command")?;
    let fed = feeder.map(thread::JoinHandle::join);
    let said = std::fs::read_to_string(&said).unwrap_or_default();
    ensure!(status.success(), "{status}: {}", said.trim());
    match fed {
        Some(Ok(Err(error))) => return Err(error).context("it did not read all of its input"),
        Some(Err(_)) => bail!("the thread that feeds it panicked"),
        Some(Ok(Ok(_))) | None => {}
    }
    ensure!(same, "what was restored is not what was backed up");
    parse(&std::fs::read_to_string(&figures).context("GNU time wrote nothing")?)
}

/// The length of all files below a folder.
pub(crate) fn stored_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        let metadata =
            entry.metadata().with_context(|| format!("cannot look at {}", entry.path().display()))?;
        bytes += if metadata.is_dir() { stored_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// `12.34 20.50 1.25 204800`: elapsed, user and system seconds, and the peak in KiB.
fn parse(figures: &str) -> Result<Measurement> {
    let line = figures.lines().last().unwrap_or_default();
    let parts: Vec<&str> = line.split(' ').collect();
    let [elapsed, user, system, peak_kib] = parts.as_slice() else { bail!("GNU time wrote {line:?}") };
    let number = |text: &str| text.parse::<f64>().with_context(|| format!("GNU time wrote {line:?}"));
    let peak_kib: u64 = peak_kib.parse().with_context(|| format!("GNU time wrote {line:?}"))?;
    Ok(Measurement {
        seconds: number(elapsed)?,
        cpu_seconds: number(user)? + number(system)?,
        peak_mib: peak_kib / 1024,
        stored_bytes: 0,
    })
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
        let figures = "Command exited with non-zero status 1\n12.34 20.50 1.25 204800\n";
        let measurement = parse(figures).unwrap();
        assert_eq!((measurement.seconds, measurement.cpu_seconds, measurement.peak_mib), (12.34, 21.75, 200));
        assert!(parse("").is_err());
        assert!(parse("1 2 3 x").is_err());
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
