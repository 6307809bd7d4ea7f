//! Of workers that share a task, and of `commit`.

use std::time::Duration;

use clap::Args;
use strongroom_format::part::{COUNT_LIMIT, check_group};
use strongroom_ops::config::parse_duration;
use strongroom_repository::share::Share;

/// Which worker of a Kubernetes Indexed Job this is, from 0.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// `2/8`, or `auto/8` for a worker whose number the environment has.
pub(super) fn parse_shard(text: &str) -> Result<Share, String> {
    let index = std::env::var(INDEX_VARIABLE).ok();
    shard_of(text, index.as_deref())
}

fn shard_of(text: &str, index: Option<&str>) -> Result<Share, String> {
    let usage =
        "write I/N: this worker's number, from 1, and how many there are; or auto/N in an Indexed Job";
    let (number, of) = text.split_once('/').ok_or(usage)?;
    let of: u32 = of.parse().map_err(|_| usage)?;
    let number = if number == "auto" {
        let wrong = || {
            format!("auto/N needs {INDEX_VARIABLE}, from 0 to N - 1, as an Indexed Job of Kubernetes sets it")
        };
        let index: u32 = index.and_then(|index| index.parse().ok()).ok_or_else(wrong)?;
        if index >= of {
            return Err(format!(
                "{INDEX_VARIABLE} is {index}, and there are {of} workers: completions and N must be the same"
            ));
        }
        index + 1
    } else {
        number.parse().map_err(|_| usage)?
    };
    if number == 0 || number > of {
        return Err(usage.into());
    }
    if of > COUNT_LIMIT {
        return Err(format!("{COUNT_LIMIT} workers at most"));
    }
    Ok(Share { number, of })
}

/// A group's name; set to nothing it is none.
pub(super) fn parse_group(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    check_group(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// A worker of a backup.
#[derive(Debug, Clone, Args)]
pub(crate) struct GroupArguments {
    /// Be worker I of N: back up only its shard. `auto/N` in a Kubernetes Indexed Job (JOB_COMPLETION_INDEX)
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    pub(crate) shard: Option<Share>,
    /// With --shard: store a part of this group, for `commit --group` to join; a name can be used once
    #[arg(long, env = "STRONGROOM_GROUP", value_name = "NAME", value_parser = parse_group)]
    pub(crate) group: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// The group whose parts the workers stored
    #[arg(long, env = "STRONGROOM_GROUP", value_name = "NAME", value_parser = parse_group)]
    pub(crate) group: String,
    /// Number of parts there must be (default: as the parts say)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parts: Option<u32>,
    /// How long to wait for parts that are missing: 30s, 45m, 2h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// Threads that compress and encrypt (default: one per processor)
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_counted_from_one() {
        let shard = |number, of| Ok(Share { number, of });
        assert_eq!(shard_of("2/8", None), shard(2, 8));
        assert_eq!(shard_of("2/8", Some("5")), shard(2, 8));
        assert_eq!(shard_of("auto/8", Some("0")), shard(1, 8));
        assert_eq!(shard_of("auto/8", Some("7")), shard(8, 8));
        for (wrong, index) in
            [("0/8", None), ("9/8", None), ("a/8", None), ("2", None), ("1/5000", None), ("auto/8", None)]
        {
            assert!(shard_of(wrong, index).is_err(), "{wrong}");
        }
        assert!(shard_of("auto/8", Some("8")).unwrap_err().contains("JOB_COMPLETION_INDEX is 8"));
    }
}
