//! A dump from its first byte to its checksum.

use std::io::Read;

use super::code::{Kind, NEWEST_VERSION, op};
use super::error::RdbError;
use super::input::Input;
use super::value::{append_string, copy_length, copy_string, read_length, read_string};

const MAGIC: &[u8; 5] = b"REDIS";
/// The oldest with a checksum.
const OLDEST_VERSION: u32 = 5;

/// Something of a dump.
#[derive(Debug)]
pub enum Part {
    /// Something to know of it.
    Aux {
        /// What.
        name: Vec<u8>,
        /// It.
        value: Vec<u8>,
    },
    /// A library of functions, as it stands there.
    Function(Vec<u8>),
    /// What a module keeps, as it stands there.
    ModuleAux {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whether it stands before the keys.
        is_before: bool,
    },
    /// A key; its value follows, and is for the caller to read.
    Key {
        /// Of which database.
        database: u64,
        /// Milliseconds.
        expires_ms: Option<u64>,
        /// Its type.
        code: u8,
    },
    /// The end; its checksum is right.
    End,
}

/// Reads a dump part by part.
pub struct RdbReader<R> {
    input: Input<R>,
    version: u32,
    database: u64,
    has_keys: bool,
    is_summed: bool,
}

/// What a dump says of itself at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dump {
    /// Of the format.
    pub version: u32,
}

impl<R: Read> RdbReader<R> {
    /// Reads its head.
    ///
    /// # Errors
    /// `NotRdb`, `Version`; `Read`, `Truncated`.
    pub fn new(inner: R) -> Result<Self, RdbError> {
        let mut input = Input::summing(inner);
        let magic: [u8; 5] = input.array()?;
        let digits: [u8; 4] = input.array()?;
        let version = std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse::<u32>().ok());
        let version = version.filter(|_| magic == *MAGIC).ok_or(RdbError::NotRdb)?;
        if !(OLDEST_VERSION..=NEWEST_VERSION).contains(&version) {
            return Err(RdbError::Version { version, newest: NEWEST_VERSION });
        }
        Ok(Self { input, version, database: 0, has_keys: false, is_summed: true })
    }

    /// Its version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether it had a checksum.
    pub fn is_summed(&self) -> bool {
        self.is_summed
    }

    /// Where values are read from.
    pub fn input(&mut self) -> &mut Input<R> {
        &mut self.input
    }

    /// The next part. After a key, its name is to be read with [`RdbReader::key`], and then its value.
    ///
    /// # Errors
    /// `Checksum`, `Malformed`, `Type`; what reading fails with.
    pub fn next_part(&mut self) -> Result<Part, RdbError> {
        let mut expires_ms = None;
        loop {
            let code = self.input.byte()?;
            match code {
                op::AUX => {
                    let (mut name, mut value) = (Vec::new(), Vec::new());
                    read_string(&mut self.input, &mut name)?;
                    read_string(&mut self.input, &mut value)?;
                    return Ok(Part::Aux { name, value });
                }
                op::FUNCTION => {
                    let mut bytes = vec![op::FUNCTION];
                    copy_string(&mut self.input, &mut bytes)?;
                    return Ok(Part::Function(bytes));
                }
                op::MODULE_AUX => return self.module_aux(),
                op::SELECT_DATABASE => self.database = read_length(&mut self.input)?,
                op::RESIZE_DATABASE => {
                    read_length(&mut self.input)?;
                    read_length(&mut self.input)?;
                }
                op::SLOT_INFO => {
                    for _ in 0..3 {
                        read_length(&mut self.input)?;
                    }
                }
                op::IDLE => {
                    read_length(&mut self.input)?;
                }
                op::FREQUENCY => {
                    self.input.byte()?;
                }
                op::EXPIRES_MS => expires_ms = Some(u64::from_le_bytes(self.input.array()?)),
                op::EXPIRES => {
                    let seconds = u32::from_le_bytes(self.input.array()?);
                    expires_ms = Some(u64::from(seconds) * 1000);
                }
                op::END => return self.end(),
                code if Kind::of(code).is_some() => {
                    self.has_keys = true;
                    return Ok(Part::Key { database: self.database, expires_ms, code });
                }
                code => return Err(RdbError::Type { code, offset: self.input.offset() - 1 }),
            }
        }
    }

    /// The name of the key that was announced, in place of what is in `out`.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn key(&mut self, out: &mut Vec<u8>) -> Result<(), RdbError> {
        out.clear();
        self.append_key(out)
    }

    /// The name of the key that was announced, behind what is in `out`.
    ///
    /// # Errors
    /// What reading fails with.
    pub fn append_key(&mut self, out: &mut Vec<u8>) -> Result<(), RdbError> {
        append_string(&mut self.input, out)
    }

    fn module_aux(&mut self) -> Result<Part, RdbError> {
        let mut bytes = vec![op::MODULE_AUX];
        copy_length(&mut self.input, &mut bytes)?;
        let marker = copy_length(&mut self.input, &mut bytes)?;
        let when = copy_length(&mut self.input, &mut bytes)?;
        // That a number without a sign follows.
        if marker != 2 {
            return Err(self.input.malformed("what a module wrote"));
        }
        super::copy::copy_module(&mut self.input, &mut bytes)?;
        Ok(Part::ModuleAux { bytes, is_before: when & 1 == 1 && !self.has_keys })
    }

    fn end(&mut self) -> Result<Part, RdbError> {
        let computed = self.input.crc();
        let stored = u64::from_le_bytes(self.input.array()?);
        // Servers that are told to make none write 0.
        self.is_summed = stored != 0;
        if self.is_summed && stored != computed {
            return Err(RdbError::Checksum { stored, computed });
        }
        Ok(Part::End)
    }
}
