//! A plain `pg_dump` of a platform's database that never existed: the input of large tests.
//!
//! The bytes are a function of [`Dump`]'s fields alone, on every machine. They compress about 3:1 with zstd at
//! level 3, as such dumps do: a quarter is chance (UUIDs, hashes, amounts), the rest is repetition.
//!
//! Day by day the database does what databases do, and what chunk deduplication alone handles worst: each
//! further day appends 1% of the first day's rows to every table, and changes the status, amount and time of 1%
//! of the rows of `jobs`, scattered over the whole of it. A changed row stays where it was, as a HOT update
//! within a page leaves it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

/// Rows are gathered to runs of about this length before they are written.
const RUN_BYTES: usize = 1 << 20;

/// What [`change_one_percent`] changes or leaves.
const BLOCK_BYTES: usize = 256;

/// 2026-01-01 00:00:00 UTC, when the platform opened.
const OPENING_SECONDS: u64 = 1_767_225_600;

const DAY_SECONDS: u64 = 86_400;

/// Which dump: two equal values give the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dump {
    /// Chooses among databases that have nothing in common.
    pub seed: u64,
    /// About how long the dump of the first day is; later ones are longer by 1% a day.
    pub size_bytes: u64,
    /// Counts from 1.
    pub day: u64,
}

impl Dump {
    /// The first day's dump of the default database.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        Self { seed: 1, size_bytes, day: 1 }
    }

    /// The same database on another day.
    #[must_use]
    pub fn on_day(self, day: u64) -> Self {
        Self { day: day.max(1), ..self }
    }

    /// Writes the whole dump.
    ///
    /// # Errors
    /// Whatever the sink answers.
    pub fn write_to(&self, sink: &mut impl Write) -> io::Result<()> {
        sink.write_all(HEADER.as_bytes())?;
        for table in &TABLES {
            self.write_table(table, sink)?;
        }
        sink.write_all(FOOTER.as_bytes())
    }

    fn write_table(&self, table: &Table, sink: &mut impl Write) -> io::Result<()> {
        let mut run = String::with_capacity(RUN_BYTES + 1024);
        run.push_str(table.head);
        let first_day_rows = self.size_bytes * table.share_percent / 100 / table.row_bytes;
        let appended_rows = first_day_rows.div_ceil(100);
        for row in 0..first_day_rows + appended_rows * (self.day - 1) {
            let born = if row < first_day_rows { 1 } else { 2 + (row - first_day_rows) / appended_rows };
            let changed = if table.updated { self.last_change(row, born) } else { born };
            let mut chance = Chance::new([self.seed, table.number, row]);
            (table.write_row)(&mut run, &Row { number: row + 1, changed, seed: self.seed }, &mut chance);
            run.push('\n');
            if run.len() >= RUN_BYTES {
                sink.write_all(run.as_bytes())?;
                run.clear();
            }
        }
        run.push_str("\\.\n\n");
        sink.write_all(run.as_bytes())
    }

    /// The last day on which the row was written, in or before the dump's.
    fn last_change(&self, row: u64, born: u64) -> u64 {
        let changed = |day: &u64| Chance::new([self.seed ^ 0xC4A6, *day, row]).below(100) == 0;
        (born + 1..=self.day).rev().find(changed).unwrap_or(born)
    }
}

/// Copies a file of any kind with the changes of a day: of its blocks of 256 bytes one in a hundred, scattered, has
/// the digits of its first 16 bytes counted up (or a bit flipped where there are none). The length stays.
///
/// # Errors
/// Whatever the source and the sink answer.
pub fn change_one_percent(source: &mut impl Read, sink: &mut impl Write) -> io::Result<()> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    for number in 0_u64.. {
        block.clear();
        source.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        if Chance::new([0xB10C, number]).below(100) == 0 {
            change(&mut block);
        }
        sink.write_all(&block)?;
        if block.len() < BLOCK_BYTES {
            break;
        }
    }
    Ok(())
}

fn change(block: &mut [u8]) {
    let changed = block.len().min(16);
    let mut digits = block[..changed].iter_mut().filter(|byte| byte.is_ascii_digit()).peekable();
    if digits.peek().is_some() {
        digits.for_each(|digit| *digit = b'0' + (*digit - b'0' + 1) % 10);
    } else if let Some(first) = block.first_mut() {
        *first ^= 1;
    }
}

struct Table {
    number: u64,
    head: &'static str,
    share_percent: u64,
    /// The mean length of a row: makes a share of bytes a number of rows.
    row_bytes: u64,
    updated: bool,
    write_row: fn(&mut String, &Row, &mut Chance),
}

struct Row {
    number: u64,
    /// The day of its newest version.
    changed: u64,
    seed: u64,
}

const TABLES: [Table; 4] = [
    Table {
        number: 1,
        head: "COPY public.users (id, public_id, email, full_name, country, created_at, last_login_at) FROM stdin;\n",
        share_percent: 10,
        row_bytes: 148,
        updated: false,
        write_row: write_user,
    },
    Table {
        number: 2,
        head: "COPY public.jobs (id, public_id, user_id, status, parameters, amount, created_at, updated_at) FROM stdin;\n",
        share_percent: 45,
        row_bytes: 395,
        updated: true,
        write_row: write_job,
    },
    Table {
        number: 3,
        head: "COPY public.payments (id, job_id, amount, currency, tx_hash, settled_at) FROM stdin;\n",
        share_percent: 15,
        row_bytes: 120,
        updated: false,
        write_row: write_payment,
    },
    Table {
        number: 4,
        head: "COPY public.events (id, user_id, kind, payload, created_at) FROM stdin;\n",
        share_percent: 30,
        row_bytes: 260,
        updated: false,
        write_row: write_event,
    },
];

fn write_user(out: &mut String, row: &Row, chance: &mut Chance) {
    let (first, last) = (chance.pick(&FIRST_NAMES), chance.pick(&LAST_NAMES));
    push(out, format_args!("{}\t", row.number));
    chance.push_uuid(out);
    let host = chance.pick(&HOSTS);
    push(
        out,
        format_args!("\t{}.{}{}@{host}", first.to_lowercase(), last.to_lowercase(), chance.below(10_000)),
    );
    push(out, format_args!("\t{first} {last}\t{}\t", chance.pick(&COUNTRIES)));
    push_time(out, row.number * 97, chance);
    out.push('\t');
    push_time(out, row.number * 97 + chance.below(5_000_000), chance);
}

fn write_job(out: &mut String, row: &Row, chance: &mut Chance) {
    push(out, format_args!("{}\t", row.number));
    chance.push_uuid(out);
    push(out, format_args!("\t{}", 1 + chance.below(1 + row.number / 4)));
    // What an update changes is drawn from the row and the day, so that the rest of the row stays as it was.
    let mut change = Chance::new([row.seed, 0x10B, row.number, row.changed]);
    push(out, format_args!("\t{}\t{{\"model\": \"{}\"", change.pick(&STATUSES), chance.pick(&MODELS)));
    push(
        out,
        format_args!(", \"region\": \"{}\", \"input\": \"s3://platform-inputs/", chance.pick(&REGIONS)),
    );
    chance.push_hex(out, 52);
    push(out, format_args!("\", \"priority\": {}, \"max_tokens\": ", chance.below(4)));
    push(out, format_args!("{}, \"temperature\": 0.{}", 256 << chance.below(5), chance.below(10)));
    push(out, format_args!(", \"labels\": [\"{}\", \"{}\"]", chance.pick(&LABELS), chance.pick(&LABELS)));
    push(out, format_args!(", \"callback\": \"https://hooks.example.com/jobs\"}}\t{}.", change.below(400)));
    push(out, format_args!("{:08}\t", change.below(100_000_000)));
    push_time(out, row.number * 31, chance);
    out.push('\t');
    push_time(out, row.number * 31 + 40 + (row.changed - 1) * DAY_SECONDS, &mut change);
}

fn write_payment(out: &mut String, row: &Row, chance: &mut Chance) {
    push(out, format_args!("{}\t{}\t", row.number, 1 + chance.below(row.number + 1)));
    push(
        out,
        format_args!(
            "{}.{:06}\t{}\t\\\\x",
            chance.below(900),
            chance.below(1_000_000),
            chance.pick(&CURRENCIES)
        ),
    );
    chance.push_hex(out, 64);
    out.push('\t');
    if chance.below(11) == 0 {
        out.push_str("\\N");
    } else {
        push_time(out, row.number * 40 + 3_600, chance);
    }
}

fn write_event(out: &mut String, row: &Row, chance: &mut Chance) {
    push(out, format_args!("{}\t{}", row.number, 1 + chance.below(1 + row.number / 6)));
    push(out, format_args!("\t{}\t{{\"ip\": \"10.{}.", chance.pick(&KINDS), chance.below(8)));
    push(out, format_args!("{}.{}\", \"agent\": \"", chance.below(256), chance.below(256)));
    push(out, format_args!("{}\", \"session\": \"", chance.pick(&AGENTS)));
    chance.push_hex(out, 32);
    out.push_str("\", \"trace\": \"");
    chance.push_hex(out, 32);
    push(
        out,
        format_args!("\", \"request_ms\": {}, \"ok\": {}}}\t", chance.below(2_000), chance.below(20) != 0),
    );
    push_time(out, row.number * 12, chance);
}

/// SplitMix64 (Steele, Lea, Flood 2014): a sequence of its own for each row, so that rows do not depend on each
/// other.
struct Chance(u64);

impl Chance {
    fn new<const N: usize>(key: [u64; N]) -> Self {
        Self(key.into_iter().fold(0, |state, part| mix(state ^ part)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        // The quotient of a product below 2^64 * length by 2^64 is below length.
        let index = (u128::from(self.next()) * words.len() as u128) >> 64;
        usize::try_from(index).ok().and_then(|index| words.get(index)).copied().unwrap_or_default()
    }

    fn push_hex(&mut self, out: &mut String, digits: usize) {
        let mut left = 0;
        for digit in 0..digits {
            if digit % 16 == 0 {
                left = self.next();
            }
            out.push(hex_digit(left));
            left >>= 4;
        }
    }

    fn push_uuid(&mut self, out: &mut String) {
        self.push_hex(out, 8);
        for digits in [4, 4, 4, 12] {
            out.push('-');
            self.push_hex(out, digits);
        }
    }
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

fn hex_digit(value: u64) -> char {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    usize::try_from(value & 15).ok().and_then(|index| DIGITS.get(index)).copied().unwrap_or('0')
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _written = out.write_fmt(text);
}

/// A `timestamptz` so many seconds after the opening, as `pg_dump` writes it.
fn push_time(out: &mut String, after_opening_seconds: u64, chance: &mut Chance) {
    let seconds = OPENING_SECONDS + after_opening_seconds;
    let (year, month, day) = civil_date(seconds / DAY_SECONDS);
    let of_day = seconds % DAY_SECONDS;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let fraction = chance.below(1_000_000);
    push(out, format_args!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{fraction:06}+00"));
}

/// Days since 1970-01-01 as year, month and day (Hinnant, "chrono-compatible low-level date algorithms").
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

const HEADER: &str = "\
--
-- PostgreSQL database dump
--

-- Dumped from database version 15.18
-- Dumped by pg_dump version 15.18

SET statement_timeout = 0;
SET lock_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET row_security = off;

CREATE TABLE public.users (
    id bigint NOT NULL,
    public_id uuid NOT NULL,
    email text NOT NULL,
    full_name text NOT NULL,
    country text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    last_login_at timestamp with time zone
);

CREATE TABLE public.jobs (
    id bigint NOT NULL,
    public_id uuid NOT NULL,
    user_id bigint NOT NULL,
    status text NOT NULL,
    parameters jsonb NOT NULL,
    amount numeric(18,8) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL
);

CREATE TABLE public.payments (
    id bigint NOT NULL,
    job_id bigint NOT NULL,
    amount numeric(18,6) NOT NULL,
    currency text NOT NULL,
    tx_hash bytea NOT NULL,
    settled_at timestamp with time zone
);

CREATE TABLE public.events (
    id bigint NOT NULL,
    user_id bigint NOT NULL,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL
);

";

const FOOTER: &str = "\
ALTER TABLE ONLY public.users ADD CONSTRAINT users_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.payments ADD CONSTRAINT payments_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.events ADD CONSTRAINT events_pkey PRIMARY KEY (id);

--
-- PostgreSQL database dump complete
--

";

const FIRST_NAMES: [&str; 12] = [
    "Ada", "Amina", "Barbara", "Chidi", "Edsger", "Grace", "Hedy", "Ines", "Kenji", "Linus", "Margaret",
    "Priya",
];
const LAST_NAMES: [&str; 12] = [
    "Adeyemi", "Becker", "Dubois", "Eriksson", "Ferrari", "Garcia", "Kowalski", "Moreau", "Novak", "Okafor",
    "Silva", "Tanaka",
];
const HOSTS: [&str; 4] = ["example.com", "example.net", "example.org", "mail.example.com"];
const COUNTRIES: [&str; 10] = ["BR", "DE", "FR", "IN", "JP", "NG", "PL", "PT", "SE", "US"];
const STATUSES: [&str; 6] = ["cancelled", "completed", "failed", "queued", "running", "settled"];
const MODELS: [&str; 6] =
    ["bert-base", "llama-70b", "mistral-7b", "resnet-152", "sdxl-turbo", "whisper-large"];
const REGIONS: [&str; 4] = ["ap-south-1", "eu-central-1", "eu-west-1", "us-east-1"];
const LABELS: [&str; 6] = ["batch", "gpu:a100", "gpu:h100", "interactive", "nightly", "spot"];
const CURRENCIES: [&str; 4] = ["AITBC", "EUR", "USD", "USDC"];
const KINDS: [&str; 6] =
    ["job.created", "job.finished", "job.started", "payout.sent", "session.opened", "settings.changed"];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "platform-cli/2.14.1 (linux; amd64)",
    "platform-sdk-python/1.9.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SIZE_BYTES: u64 = 4_000_000;

    fn text(dump: Dump) -> String {
        let mut bytes = Vec::new();
        dump.write_to(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_same_dump_has_the_same_bytes() {
        let dump = Dump::new(SIZE_BYTES);
        assert_eq!(text(dump), text(dump));
        assert_ne!(text(dump), text(Dump { seed: 2, ..dump }));
    }

    #[test]
    fn it_is_about_as_long_as_asked() {
        let length = text(Dump::new(SIZE_BYTES)).len() as u64;
        assert!(length.abs_diff(SIZE_BYTES) < SIZE_BYTES / 25, "{length}");
    }

    #[test]
    fn it_compresses_about_three_to_one() {
        let plain = text(Dump::new(SIZE_BYTES));
        let mut packed = vec![0; zstd_safe::compress_bound(plain.len())];
        let length = zstd_safe::compress(packed.as_mut_slice(), plain.as_bytes(), 3).unwrap();
        let tenths = plain.len() * 10 / length;
        assert!((27..=33).contains(&tenths), "{tenths} tenths");
    }

    #[test]
    fn a_day_appends_and_changes_one_row_in_a_hundred() {
        let first = text(Dump::new(SIZE_BYTES));
        let second = text(Dump::new(SIZE_BYTES).on_day(2));
        let old: HashSet<&str> = first.lines().collect();
        let new: HashSet<&str> = second.lines().collect();
        let rows = first.lines().count();
        let jobs = first.split("\nCOPY ").nth(2).unwrap().lines().count() - 2;
        let changed = old.difference(&new).count();
        assert!((jobs / 200..=jobs / 50).contains(&changed), "{changed} of {jobs} jobs changed");
        let grown = second.lines().count() - rows;
        assert!((rows / 110..=rows / 90).contains(&grown), "{grown} of {rows} rows appended");
        assert_eq!(new.difference(&old).count(), changed + grown);
    }

    #[test]
    fn changed_rows_are_scattered_and_stay_in_place() {
        let first = text(Dump::new(SIZE_BYTES));
        let third = text(Dump::new(SIZE_BYTES).on_day(3));
        let jobs =
            |dump: &str| dump.split("\nCOPY ").nth(2).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
        let (before, after) = (jobs(&first), jobs(&third));
        let mut changed = Vec::new();
        for (position, (old, new)) in before.iter().zip(&after).enumerate().take(before.len() - 2) {
            assert_eq!(old.split('\t').next(), new.split('\t').next());
            assert_eq!(
                old.split('\t').nth(4),
                new.split('\t').nth(4),
                "the parameters of a job never change"
            );
            if old != new {
                changed.push(position);
            }
        }
        let (first_change, last_change) = (changed[0], changed[changed.len() - 1]);
        assert!(first_change < before.len() / 4 && last_change > before.len() * 3 / 4);
    }

    #[test]
    fn any_file_changes_by_one_percent() {
        let before = text(Dump::new(SIZE_BYTES)).into_bytes();
        let mut after = Vec::new();
        change_one_percent(&mut before.as_slice(), &mut after).unwrap();
        assert_eq!(before.len(), after.len());
        let blocks = before.chunks(BLOCK_BYTES).zip(after.chunks(BLOCK_BYTES));
        let changed = blocks.filter(|(before, after)| before != after).count();
        let all = before.len() / BLOCK_BYTES;
        assert!((all / 110..=all / 90).contains(&changed), "{changed} of {all}");
    }

    #[test]
    fn dates_are_right() {
        assert_eq!(civil_date(0), (1970, 1, 1));
        assert_eq!(civil_date(OPENING_SECONDS / DAY_SECONDS), (2026, 1, 1));
        assert_eq!(civil_date(20_512), (2026, 2, 28));
        assert_eq!(civil_date(20_513), (2026, 3, 1));
        assert_eq!(civil_date(19_782), (2024, 2, 29));
    }
}
