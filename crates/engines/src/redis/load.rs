//! Keys into a server that runs: `RESTORE`, many under way at once, every answer looked at.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use strongroom_repository::monitor::Monitor;

use super::body::Key;
use super::cluster::{Master, slot_of};
use super::connection::{Connection, write_command};
use super::error::RedisError;
use super::pipe::PipeReader;
use super::rdb::{Crc64, Input, RdbError, copy_value};
use super::record::{Held, Record, SortedMembers};
use super::resp::Value;
use super::sort::Body;
use super::spill::{Spill, SpillReader};
use super::target::Target;

/// Commands that are sent at once, bytes.
const BATCH_BYTES: usize = 256 << 10;
/// Commands that are sent at once.
const BATCH_COMMANDS: usize = 512;
/// Batches whose answers are waited for while the next one is made.
const BATCHES: usize = 2;

/// Appends the version of a dump and the checksum, as `DUMP` does.
pub(super) fn footer(crc: &mut Crc64, version: u32) -> [u8; 10] {
    let mut footer = [0; 10];
    let [low, high, ..] = version.to_le_bytes();
    footer[..2].copy_from_slice(&[low, high]);
    crc.update(&footer[..2]);
    footer[2..].copy_from_slice(&crc.value().to_le_bytes());
    footer
}

/// Commands to one server.
struct Pipeline<'m> {
    connection: Connection<'m>,
    slots: Vec<RangeInclusive<u16>>,
    batch: Vec<u8>,
    /// Of the batch.
    commands: usize,
    /// The batches whose answers are to come, in commands.
    sent: VecDeque<usize>,
    /// What each of the commands is about.
    names: VecDeque<Vec<u8>>,
}

/// What a command is answered.
pub(super) type Answer<'a> = dyn FnMut(&[u8], Value) -> Result<(), RedisError> + 'a;

impl<'m> Pipeline<'m> {
    fn new(connection: Connection<'m>, slots: Vec<RangeInclusive<u16>>) -> Self {
        Self {
            connection,
            slots,
            batch: Vec::new(),
            commands: 0,
            sent: VecDeque::new(),
            names: VecDeque::new(),
        }
    }

    fn push(&mut self, name: &[u8], answer: &mut Answer<'_>) -> Result<(), RedisError> {
        self.names.push_back(name.to_owned());
        self.commands += 1;
        if self.batch.len() < BATCH_BYTES && self.commands < BATCH_COMMANDS {
            return Ok(());
        }
        self.send()?;
        while self.sent.len() > BATCHES {
            self.receive(answer)?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), RedisError> {
        self.connection.send(&self.batch)?;
        self.batch.clear();
        if self.commands > 0 {
            self.sent.push_back(std::mem::take(&mut self.commands));
        }
        Ok(())
    }

    /// The answers to a batch, all of them: what comes behind one that is an error was done all the same.
    fn receive(&mut self, answer: &mut Answer<'_>) -> Result<(), RedisError> {
        let mut answered = Ok(());
        for _ in 0..self.sent.pop_front().unwrap_or_default() {
            let value = self.connection.receive()?;
            let name = self.names.pop_front().unwrap_or_default();
            answered = answered.and(answer(&name, value));
        }
        answered
    }

    /// The answers to all that was sent.
    fn drain(&mut self, answer: &mut Answer<'_>) -> Result<(), RedisError> {
        let mut answered = Ok(());
        while !self.sent.is_empty() {
            let received = self.receive(answer);
            if let Err(RedisError::Broken { .. }) = received {
                return answered.and(received);
            }
            answered = answered.and(received);
        }
        answered
    }
}

/// Commands to a server, or to the masters of a cluster.
pub(super) struct Loader<'m> {
    pipelines: Vec<Pipeline<'m>>,
    spill: Arc<Spill>,
    members: SortedMembers,
    /// Of the dump.
    version: u32,
    /// Whether keys that are there are replaced.
    replaces: bool,
}

impl<'m> Loader<'m> {
    /// Connects to all of them, for one database.
    ///
    /// # Errors
    /// What connecting fails with; `Temporary`.
    pub(super) fn open(
        masters: &[Master],
        database: u64,
        (version, replaces): (u32, bool),
        temporary: &Path,
        monitor: &'m dyn Monitor,
    ) -> Result<Self, RedisError> {
        let wrong = |source| RedisError::Temporary { folder: temporary.to_owned(), source };
        let spill = Spill::new(temporary).map_err(wrong)?;
        let mut pipelines = Vec::new();
        for Master { target, slots } in masters {
            pipelines.push(Pipeline::new(connect(target, database, monitor)?, slots.clone()));
        }
        Ok(Self { pipelines, members: SortedMembers::new(&spill), spill, version, replaces })
    }

    fn pipeline(&mut self, name: &[u8]) -> Result<&mut Pipeline<'m>, RedisError> {
        let slot = if self.pipelines.len() == 1 { 0 } else { slot_of(name) };
        let number = match self.pipelines.len() {
            1 => Some(0),
            _ => self.pipelines.iter().position(|one| one.slots.iter().any(|slots| slots.contains(&slot))),
        };
        let found = number.and_then(|number| self.pipelines.get_mut(number));
        found.ok_or(RedisError::Url { why: "a slot of the cluster has no master" })
    }

    /// Asks whether a key is there.
    ///
    /// # Errors
    /// As `answer` does; `Broken`.
    pub(super) fn ask_for(&mut self, name: &[u8], answer: &mut Answer<'_>) -> Result<(), RedisError> {
        let pipeline = self.pipeline(name)?;
        write_command(&mut pipeline.batch, &[b"EXISTS", name]);
        pipeline.push(name, answer)
    }

    /// Restores a key, whose value is read.
    ///
    /// # Errors
    /// What reading it fails with; as `answer` does; `Broken`.
    pub(super) fn restore(
        &mut self,
        key: Key,
        name: &[u8],
        input: &mut Input<PipeReader>,
        answer: &mut Answer<'_>,
    ) -> Result<(), LoadError> {
        let mut record = Record::new(&self.spill, Vec::new());
        record.put(&[key.code])?;
        copy_value(input, key.code, &mut self.members, &mut record)?;
        let held = record.finish().map_err(RdbError::Write)?;
        let (version, replaces) = (self.version, self.replaces);
        let mut crc = Crc64::default();
        let (body, length) = match held {
            Held::Small(ref body) => (Body::Whole(body), body.len() as u64),
            Held::Large(spilled) => {
                let length = spilled.bytes;
                (Body::Large(SpillReader::new(&self.spill, spilled)), length)
            }
        };
        let expires = key.expires_ms.unwrap_or_default().to_string();
        let mut behind: Vec<&[u8]> = Vec::new();
        behind.extend(replaces.then_some(&b"REPLACE"[..]));
        behind.extend(key.expires_ms.map(|_| &b"ABSTTL"[..]));
        let pipeline = self.pipeline(name)?;
        let words = 4 + behind.len();
        let batch = &mut pipeline.batch;
        batch.extend_from_slice(format!("*{words}\r\n$7\r\nRESTORE\r\n${}\r\n", name.len()).as_bytes());
        batch.extend_from_slice(name);
        batch.extend_from_slice(format!("\r\n${}\r\n{expires}\r\n", expires.len()).as_bytes());
        batch.extend_from_slice(format!("${}\r\n", length + 10).as_bytes());
        body.pass::<LoadError>(&mut |piece| {
            crc.update(piece);
            pipeline.batch.extend_from_slice(piece);
            // A large value is not held: what is there of the batch goes.
            if pipeline.batch.len() >= BATCH_BYTES {
                pipeline.send()?;
            }
            Ok(())
        })?;
        let batch = &mut pipeline.batch;
        batch.extend_from_slice(&footer(&mut crc, version));
        batch.extend_from_slice(b"\r\n");
        for word in behind {
            batch.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            batch.extend_from_slice(word);
            batch.extend_from_slice(b"\r\n");
        }
        Ok(pipeline.push(name, answer)?)
    }

    /// Sends what is left, and waits for all answers.
    ///
    /// # Errors
    /// As `answer` does, the first of them; `Broken`.
    pub(super) fn settle(&mut self, answer: &mut Answer<'_>) -> Result<(), RedisError> {
        let sent = self.pipelines.iter_mut().try_for_each(Pipeline::send);
        // Also behind one that broke off: what others did is counted.
        sent.and(self.drain(answer))
    }

    /// Waits for the answers to what was sent.
    ///
    /// # Errors
    /// As [`Loader::settle`].
    pub(super) fn drain(&mut self, answer: &mut Answer<'_>) -> Result<(), RedisError> {
        let drained = self.pipelines.iter_mut().map(|pipeline| pipeline.drain(answer));
        drained.fold(Ok(()), Result::and)
    }
}

/// A connection for one database.
pub(super) fn connect<'m>(
    target: &Target,
    database: u64,
    monitor: &'m dyn Monitor,
) -> Result<Connection<'m>, RedisError> {
    let mut connection = Connection::open(target, monitor)?;
    if database > 0 {
        connection.ask(&[b"SELECT", database.to_string().as_bytes()])?;
    }
    Ok(connection)
}

/// What loading a key fails with.
#[derive(Debug)]
pub(super) enum LoadError {
    /// What is stored cannot be read.
    Stored(RdbError),
    Server(RedisError),
}

impl From<RdbError> for LoadError {
    fn from(error: RdbError) -> Self {
        Self::Stored(error)
    }
}

impl From<std::io::Error> for LoadError {
    fn from(error: std::io::Error) -> Self {
        Self::Stored(RdbError::Write(error))
    }
}

impl From<RedisError> for LoadError {
    fn from(error: RedisError) -> Self {
        Self::Server(error)
    }
}
