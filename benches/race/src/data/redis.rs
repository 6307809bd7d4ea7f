//! A dump of Redis, and the next one, after a restart and a few changes: the keys come in another order then, because
//! each process hashes them with a seed of its own.
//!
//! The keys and values are the same every time; their order is chance, which is why the dumps are kept.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use strongroom_tests::services::redis::Redis;

use super::Data;
use super::cached::CachedFiles;
use super::chance::Chance;

const DUMPS: [&str; 2] = ["1-before.rdb", "2-after.rdb"];
/// How many users, with their session and feed, a megabyte of dump has.
const USERS_PER_MEGABYTE: u64 = 3100;
const SESSIONS: u64 = 1 << 32;
/// Commands are sent in runs of this length.
const RUN_BYTES: usize = 1 << 20;
/// Of the dumps: whoever changes this file gets new ones.
const RECIPE: &str = include_str!("redis.rs");

pub(crate) fn prepare(megabytes: u32, cache: &Path) -> Result<Data> {
    let users = USERS_PER_MEGABYTE * u64::from(megabytes);
    let files =
        CachedFiles { cache, name: format!("redis-{megabytes}"), recipe: RECIPE.to_owned(), files: &DUMPS };
    let days = files.ensure(|folder| {
        let [before, after] = DUMPS.map(|name| folder.join(name));
        let server = Redis::start()?.context("Redis is not installed")?;
        send(&server, (1..=users).map(|user| write_user(user, 0)))?;
        copy(&server.save()?, &before)?;
        drop(server);
        let server = Redis::start_with(Some(&before))?.context("Redis is not installed")?;
        send(&server, changes(users))?;
        copy(&server.save()?, &after)
    })?;
    Ok(Data::Streams { name: "dump.rdb", days })
}

fn copy(dump: &Path, to: &Path) -> Result<()> {
    std::fs::copy(dump, to).with_context(|| format!("cannot copy to {}", to.display())).map(drop)
}

/// What a user has: a profile, a session with an end, a feed, a place on the board.
fn write_user(user: u64, version: u64) -> Vec<Vec<String>> {
    let mut chance = Chance::new(user ^ version << 48);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let plan = match chance.below(3) {
        0 => "free",
        1 => "pro",
        _ => "business",
    };
    let (user_text, balance) = (user.to_string(), chance.below(1_000_000).to_string());
    let email = format!("user{user}@example.com");
    let session = format!("session:{:016x}", Chance::new(user ^ SESSIONS).next());
    let token = format!("{:016x}{:016x}", chance.next(), chance.next());
    let content = format!(
        r#"{{"user":{user},"token":"{token}","ip":"10.0.{}.{}","scopes":["read","write","payments"],"mfa":true}}"#,
        chance.below(256),
        chance.below(256)
    );
    let end = (1_900_000_000 + chance.below(1_000_000)).to_string();
    let mut feed = words(&["RPUSH", &format!("feed:{user}")]);
    feed.extend((0..3).map(|_| format!("job-{}", chance.below(10_000_000))));
    vec![
        words(&[
            "HSET",
            &format!("user:{user}"),
            "id",
            &user_text,
            "email",
            &email,
            "plan",
            plan,
            "balance",
            &balance,
        ]),
        words(&["SET", &session, &content]),
        words(&["EXPIREAT", &session, &end]),
        words(&["DEL", &format!("feed:{user}")]),
        feed,
        words(&["ZADD", "board", &balance, &user_text]),
    ]
}

/// 1% are written again, half a percent are new, half a percent of the sessions end.
fn changes(users: u64) -> impl Iterator<Item = Vec<Vec<String>>> {
    let again = (1..=users).step_by(100).map(|user| write_user(user, 1));
    let new = (users + 1..=users + users / 200).map(|user| write_user(user, 1));
    let ended = (50..=users).step_by(200).map(|user| {
        vec![vec!["DEL".to_owned(), format!("session:{:016x}", Chance::new(user ^ SESSIONS).next())]]
    });
    again.chain(new).chain(ended)
}

fn send(server: &Redis, commands: impl Iterator<Item = Vec<Vec<String>>>) -> Result<()> {
    let mut client: Command = server.client();
    client.arg("--pipe").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = client.spawn().context("cannot run redis-cli")?;
    let mut stdin = child.stdin.take().context("redis-cli has no standard input")?;
    let mut run = String::new();
    for command in commands.flatten() {
        push_command(&mut run, &command);
        if run.len() >= RUN_BYTES {
            stdin.write_all(run.as_bytes()).context("redis-cli does not read")?;
            run.clear();
        }
    }
    stdin.write_all(run.as_bytes()).context("redis-cli does not read")?;
    drop(stdin);
    let said = child.wait_with_output().context("cannot wait for redis-cli")?;
    let said_text = String::from_utf8_lossy(&said.stdout);
    ensure!(said.status.success() && said_text.contains("errors: 0"), "redis-cli: {}", said_text.trim());
    Ok(())
}

/// As the protocol has it (RESP): the number of words, and each with its length.
fn push_command(run: &mut String, words: &[String]) {
    // Writing to a String cannot fail.
    let _written = write!(run, "*{}\r\n", words.len());
    for word in words {
        let _written = write!(run, "${}\r\n{word}\r\n", word.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_framed() {
        let mut run = String::new();
        push_command(&mut run, &["SET".into(), "key".into(), "wörd".into()]);
        assert_eq!(run, "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nwörd\r\n");
    }

    #[test]
    fn the_same_user_is_written_the_same() {
        assert_eq!(write_user(7, 0), write_user(7, 0));
        assert_ne!(write_user(7, 0), write_user(7, 1));
        // A session keeps its name: it is written again, and not beside the old one.
        assert_eq!(write_user(7, 0)[1][1], write_user(7, 1)[1][1]);
    }

    #[test]
    fn a_day_changes_few() {
        assert_eq!(changes(1000).count(), 10 + 5 + 5);
    }
}
