//! Follows a stream of blocks, in whatever pieces it comes.

use super::types::ColumnType;

/// Longest name of a column or type, bytes.
const MOST_NAME_BYTES: u64 = 1 << 20;
/// Most columns of a table.
const MOST_COLUMNS: u64 = 1 << 16;
/// Most rows of a block: servers send 65536, and more only of what they were given so.
const MOST_ROWS: u64 = 1 << 32;
/// The only form of dictionaries that there is.
const DICTIONARY_VERSION: u64 = 1;
/// Dictionaries that are shared by blocks: no server sends them over HTTP.
const SHARED_DICTIONARY: u64 = 1 << 8;
const OWN_KEYS: u64 = 1 << 9;

/// Why a stream is none of whole blocks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NativeError {
    /// It ends within a block.
    #[error("the stream ends in the middle of a block, after {rows} rows")]
    CutOff {
        /// Of whole blocks.
        rows: u64,
    },
    /// What stands where a block should begin is none.
    #[error("there is no block after {rows} rows: {what}")]
    NoBlock {
        /// Of whole blocks.
        rows: u64,
        /// What was found.
        what: &'static str,
    },
    /// A column whose values cannot be followed.
    #[error("values of type {name} cannot be followed")]
    Opaque {
        /// The type.
        name: String,
    },
}

/// What is to be read next; a stack of these is where in a block the stream is.
#[derive(Debug, Clone)]
enum Task {
    Block,
    /// All of a block was read.
    End,
    /// How many rows; there are so many columns.
    Rows {
        columns: u64,
    },
    Column {
        number: u64,
    },
    Name {
        number: u64,
        is_type: bool,
    },
    NameText {
        number: u64,
        is_type: bool,
        length: u64,
    },
    Prefix(ColumnType),
    Version,
    Values(ColumnType, u64),
    Skip(u64),
    Strings(u64),
    StringBytes {
        behind: u64,
    },
    /// Where the last array ends says how many elements there are.
    Elements(ColumnType),
    DictionaryFlags(ColumnType, u64),
    DictionaryLength(ColumnType, u64, u64),
    DictionaryRows(u64, u64),
}

/// Follows blocks.
#[derive(Debug)]
pub struct Scanner {
    stack: Vec<Task>,
    /// Of the columns, in the first block.
    columns: Vec<(Vec<u8>, Vec<u8>, ColumnType)>,
    expected_columns: Option<u64>,
    /// A name, or a number, that has not come to its end.
    partial: Vec<u8>,
    block_rows: u64,
    rows: u64,
}

impl Scanner {
    /// At the beginning of a stream, whose blocks have so many columns, if that is known.
    #[must_use]
    pub fn new(expected_columns: Option<usize>) -> Self {
        Self {
            stack: vec![Task::Block],
            columns: Vec::new(),
            expected_columns: expected_columns.map(|columns| columns as u64),
            partial: Vec::new(),
            block_rows: 0,
            rows: 0,
        }
    }

    /// Rows of whole blocks.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Goes on with the next bytes.
    ///
    /// # Errors
    /// `NoBlock`, `Opaque`.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), NativeError> {
        while let Some(task) = self.stack.pop() {
            if bytes.is_empty() && !takes_nothing(&task) {
                self.stack.push(task);
                return Ok(());
            }
            self.step(task, &mut bytes)?;
        }
        Ok(())
    }

    /// Whether it ended where a block did; gives the rows.
    ///
    /// # Errors
    /// `CutOff`.
    pub fn finish(&self) -> Result<u64, NativeError> {
        match self.stack.as_slice() {
            [Task::Block] if self.partial.is_empty() => Ok(self.rows),
            _ => Err(NativeError::CutOff { rows: self.rows }),
        }
    }

    fn no_block(&self, what: &'static str) -> NativeError {
        NativeError::NoBlock { rows: self.rows, what }
    }

    fn step(&mut self, task: Task, bytes: &mut &[u8]) -> Result<(), NativeError> {
        match task {
            Task::Block | Task::Rows { .. } | Task::Name { .. } => match self.length(bytes)? {
                None => self.stack.push(task),
                Some(number) => self.head(&task, number)?,
            },
            Task::End => {
                self.rows = self.rows.saturating_add(self.block_rows);
                self.stack.push(Task::Block);
            }
            Task::Column { number } => self.column(number)?,
            Task::NameText { number, is_type, length } => self.name(number, is_type, length, bytes)?,
            Task::Skip(left) => {
                let left = skip(bytes, left);
                if left > 0 {
                    self.stack.push(Task::Skip(left));
                }
            }
            Task::Strings(left) => return self.strings(left, bytes),
            Task::StringBytes { behind } => match skip(bytes, behind) {
                0 => {}
                behind => self.stack.push(Task::StringBytes { behind }),
            },
            Task::Prefix(kind) => self.prefix(kind),
            Task::Version => match self.number(bytes) {
                None => self.stack.push(Task::Version),
                Some(DICTIONARY_VERSION) => {}
                Some(_) => return Err(self.no_block("its dictionaries are of another kind")),
            },
            Task::Values(kind, count) => self.values(kind, count)?,
            Task::Elements(kind) => match self.number(bytes) {
                None => self.stack.push(Task::Elements(kind)),
                Some(count) => self.stack.push(Task::Values(kind, count)),
            },
            Task::DictionaryFlags(..) | Task::DictionaryLength(..) | Task::DictionaryRows(..) => {
                match self.number(bytes) {
                    None => self.stack.push(task),
                    Some(number) => self.dictionary(task, number)?,
                }
            }
        }
        Ok(())
    }

    /// Of a block or column, where it begins with a number.
    fn head(&mut self, task: &Task, found: u64) -> Result<(), NativeError> {
        match *task {
            Task::Block => {
                let is_another = self.expected_columns.is_some_and(|expected| expected != found);
                if found > MOST_COLUMNS || is_another {
                    return Err(self.no_block("it has another number of columns"));
                }
                self.expected_columns = Some(found);
                self.stack.push(Task::Rows { columns: found });
            }
            Task::Rows { .. } if found > MOST_ROWS => return Err(self.no_block("it has too many rows")),
            Task::Rows { columns } => {
                self.block_rows = found;
                self.begin_column(0, columns);
            }
            Task::Name { .. } if found > MOST_NAME_BYTES => {
                return Err(self.no_block("a name of it is too long"));
            }
            Task::Name { number, is_type } => {
                self.stack.push(Task::NameText { number, is_type, length: found });
            }
            _ => {}
        }
        Ok(())
    }

    fn dictionary(&mut self, task: Task, found: u64) -> Result<(), NativeError> {
        match task {
            Task::DictionaryFlags(..) if found & 0xff > 3 || found & SHARED_DICTIONARY != 0 => {
                return Err(self.no_block("its dictionaries are shared"));
            }
            Task::DictionaryFlags(_, rows) if found & OWN_KEYS == 0 => {
                self.stack.push(Task::DictionaryRows(rows, 1 << (found & 3)));
            }
            Task::DictionaryFlags(kind, rows) => {
                self.stack.push(Task::DictionaryLength(kind, rows, 1 << (found & 3)));
            }
            Task::DictionaryLength(kind, rows, width) => {
                self.stack.push(Task::DictionaryRows(rows, width));
                self.stack.push(Task::Values(kind, found));
            }
            Task::DictionaryRows(rows, width) if found == rows => self.stack.push(Task::Skip(rows * width)),
            _ => return Err(self.no_block("its dictionaries do not fit its rows")),
        }
        Ok(())
    }

    fn begin_column(&mut self, number: u64, columns: u64) {
        if number < columns {
            self.stack.push(Task::Column { number });
            self.stack.push(Task::Name { number, is_type: true });
            self.stack.push(Task::Name { number, is_type: false });
        } else {
            self.stack.push(Task::End);
        }
    }

    /// Its name and type are known: values come, if there are any, and the next column.
    fn column(&mut self, number: u64) -> Result<(), NativeError> {
        let Some((_, name, kind)) = usize::try_from(number).ok().and_then(|at| self.columns.get(at)) else {
            return Err(self.no_block("it has another number of columns"));
        };
        if !kind.can_be_followed() {
            return Err(NativeError::Opaque { name: String::from_utf8_lossy(name).into_owned() });
        }
        let kind = kind.clone();
        let columns = self.expected_columns.unwrap_or_default();
        self.begin_column(number + 1, columns);
        if self.block_rows > 0 {
            // Above what comes behind, and so before it.
            self.stack.push(Task::Values(kind.clone(), self.block_rows));
            self.stack.push(Task::Prefix(kind));
        }
        Ok(())
    }

    fn name(
        &mut self,
        number: u64,
        is_type: bool,
        length: u64,
        bytes: &mut &[u8],
    ) -> Result<(), NativeError> {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(self.partial.len());
        let (now, rest) = bytes.split_at(wanted.min(bytes.len()));
        self.partial.extend_from_slice(now);
        *bytes = rest;
        if now.len() < wanted {
            self.stack.push(Task::NameText { number, is_type, length });
            return Ok(());
        }
        let text = std::mem::take(&mut self.partial);
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        match self.columns.get_mut(at) {
            // A later block has the same.
            Some(known) if !known.1.is_empty() => {
                if *(if is_type { &known.1 } else { &known.0 }) != text {
                    return Err(self.no_block("it has other columns"));
                }
            }
            Some(known) => {
                if text.is_empty() {
                    return Err(self.no_block("a column has no type"));
                }
                known.2 = ColumnType::parse(&String::from_utf8_lossy(&text));
                known.1 = text;
            }
            None => self.columns.push((text, Vec::new(), ColumnType::Opaque)),
        }
        Ok(())
    }

    /// What stands before all values of a column: a number for each dictionary in it.
    fn prefix(&mut self, kind: ColumnType) {
        match kind {
            ColumnType::LowCardinality(_) => self.stack.push(Task::Version),
            ColumnType::Nullable(inner) | ColumnType::Array(inner) => self.prefix(*inner),
            ColumnType::Tuple(elements) => {
                self.stack.extend(elements.into_iter().rev().map(Task::Prefix));
            }
            ColumnType::Fixed(_) | ColumnType::String | ColumnType::Opaque => {}
        }
    }

    fn values(&mut self, kind: ColumnType, count: u64) -> Result<(), NativeError> {
        if count == 0 {
            return Ok(());
        }
        let long = || NativeError::NoBlock { rows: self.rows, what: "it is longer than can be" };
        match kind {
            ColumnType::Fixed(width) => {
                self.stack.push(Task::Skip(count.checked_mul(width).ok_or_else(long)?));
            }
            ColumnType::String => self.stack.push(Task::Strings(count)),
            ColumnType::Nullable(inner) => {
                self.stack.push(Task::Values(*inner, count));
                self.stack.push(Task::Skip(count));
            }
            ColumnType::Array(inner) => {
                self.stack.push(Task::Elements(*inner));
                self.stack.push(Task::Skip((count - 1).checked_mul(8).ok_or_else(long)?));
            }
            // As many placeholders, a byte each.
            ColumnType::Tuple(elements) if elements.is_empty() => self.stack.push(Task::Skip(count)),
            ColumnType::Tuple(elements) => {
                let values = elements.into_iter().rev().map(|element| Task::Values(element, count));
                self.stack.extend(values);
            }
            ColumnType::LowCardinality(inner) => {
                if count.checked_mul(8).is_none() {
                    return Err(long());
                }
                // Its dictionary has no nulls: the first key stands for them.
                let keys = match *inner {
                    ColumnType::Nullable(inner) => *inner,
                    inner => inner,
                };
                self.stack.push(Task::DictionaryFlags(keys, count));
            }
            ColumnType::Opaque => return Err(NativeError::Opaque { name: "a value".into() }),
        }
        Ok(())
    }

    fn strings(&mut self, mut left: u64, bytes: &mut &[u8]) -> Result<(), NativeError> {
        while left > 0 {
            let length = match bytes.first() {
                // Most strings are short.
                Some(&short) if short < 0x80 && self.partial.is_empty() => {
                    *bytes = bytes.get(1..).unwrap_or_default();
                    u64::from(short)
                }
                _ => match self.length(bytes)? {
                    Some(length) => length,
                    None => {
                        self.stack.push(Task::Strings(left));
                        return Ok(());
                    }
                },
            };
            left -= 1;
            let behind = skip(bytes, length);
            if behind > 0 {
                if left > 0 {
                    self.stack.push(Task::Strings(left));
                }
                self.stack.push(Task::StringBytes { behind });
                return Ok(());
            }
        }
        Ok(())
    }

    /// A number of 7 bits a byte, once it is there.
    fn length(&mut self, bytes: &mut &[u8]) -> Result<Option<u64>, NativeError> {
        while let [first, rest @ ..] = *bytes {
            *bytes = rest;
            self.partial.push(*first);
            if self.partial.len() > 9 {
                return Err(self.no_block("a length of it is too long"));
            }
            if first & 0x80 == 0 {
                let seven = |sum, (at, byte): (usize, &u8)| sum | u64::from(byte & 0x7f) << (7 * at);
                let length = self.partial.iter().enumerate().fold(0, seven);
                self.partial.clear();
                return Ok(Some(length));
            }
        }
        Ok(None)
    }

    /// A number of 8 bytes, once it is there.
    fn number(&mut self, bytes: &mut &[u8]) -> Option<u64> {
        let (now, rest) = bytes.split_at((8 - self.partial.len().min(8)).min(bytes.len()));
        self.partial.extend_from_slice(now);
        *bytes = rest;
        let number = u64::from_le_bytes(self.partial.as_slice().try_into().ok()?);
        self.partial.clear();
        Some(number)
    }
}

/// Whether a step only says what comes next.
fn takes_nothing(task: &Task) -> bool {
    matches!(
        task,
        Task::End
            | Task::Column { .. }
            | Task::Prefix(_)
            | Task::Values(..)
            | Task::Skip(0)
            | Task::Strings(0)
            | Task::NameText { length: 0, .. }
    )
}

/// Gives how many are still to come.
fn skip(bytes: &mut &[u8], wanted: u64) -> u64 {
    let now = usize::try_from(wanted).unwrap_or(usize::MAX).min(bytes.len());
    *bytes = bytes.get(now..).unwrap_or_default();
    wanted - now as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn length(out: &mut Vec<u8>, mut number: u64) {
        while number >= 0x80 {
            out.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        out.push(u8::try_from(number).unwrap());
    }

    fn text(out: &mut Vec<u8>, text: &str) {
        length(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }

    /// A block of a number, a string and an array of dictionary entries in each row, as a server of 26.9 wrote such.
    fn block(rows: &[(u64, String, Vec<bool>)]) -> Vec<u8> {
        let mut out = Vec::new();
        length(&mut out, 4);
        length(&mut out, rows.len() as u64);
        text(&mut out, "n");
        text(&mut out, "UInt64");
        rows.iter().for_each(|row| out.extend_from_slice(&row.0.to_le_bytes()));
        text(&mut out, "s");
        text(&mut out, "Nullable(String)");
        if !rows.is_empty() {
            rows.iter().for_each(|row| out.push(u8::from(row.1.is_empty())));
            rows.iter().for_each(|row| text(&mut out, &row.1));
        }
        text(&mut out, "a");
        text(&mut out, "Array(LowCardinality(Nullable(String)))");
        if !rows.is_empty() {
            out.extend_from_slice(&1_u64.to_le_bytes());
            let mut total = 0;
            for row in rows {
                total += row.2.len() as u64;
                out.extend_from_slice(&total.to_le_bytes());
            }
            if total > 0 {
                out.extend_from_slice(&0x600_u64.to_le_bytes());
                out.extend_from_slice(&2_u64.to_le_bytes());
                text(&mut out, "");
                text(&mut out, "yes");
                out.extend_from_slice(&total.to_le_bytes());
                rows.iter().for_each(|row| out.extend(row.2.iter().map(|bit| u8::from(*bit))));
            }
        }
        text(&mut out, "t");
        text(&mut out, "Tuple(x Date, y Tuple())");
        out.extend(vec![0; rows.len() * 3]);
        out
    }

    fn scan(pieces: &[&[u8]]) -> Result<u64, NativeError> {
        let mut scanner = Scanner::new(Some(4));
        for piece in pieces {
            scanner.feed(piece)?;
        }
        scanner.finish()
    }

    proptest! {
        #[test]
        fn blocks_end_where_they_end(
            blocks in prop::collection::vec(prop::collection::vec((any::<u64>(), ".{0,300}", prop::collection::vec(any::<bool>(), 0..4)), 0..9), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let stream: Vec<u8> = blocks.iter().flat_map(|rows| block(rows)).collect();
            let rows: usize = blocks.iter().map(Vec::len).sum();
            prop_assert_eq!(scan(&[&stream]), Ok(rows as u64));
            let (first, second) = stream.split_at(cut.index(stream.len() + 1));
            prop_assert_eq!(scan(&[first, second]), Ok(rows as u64));
            prop_assert_eq!(scan(&stream.chunks(1).collect::<Vec<_>>()), Ok(rows as u64));
            // Cut off anywhere but between blocks, it is none.
            let mut ends = vec![0];
            for rows in &blocks {
                ends.push(ends.last().unwrap() + block(rows).len());
            }
            let is_whole = scan(&[first]).is_ok();
            prop_assert_eq!(is_whole, ends.contains(&first.len()));
            // An exception behind it is none of it.
            let said = b"Code: 395, e.displayText() = DB::Exception: no, e.what() = DB::Exception\n";
            prop_assert!(scan(&[first, said]).is_err());
        }

        #[test]
        fn any_bytes_are_told_from_blocks_in_whatever_pieces(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..20) {
            let whole = scan(&[&bytes]);
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(scan(&pieces), whole);
        }
    }

    /// What servers wrote: dictionaries in tuples in arrays, a nullable tuple, arrays of dictionaries that are all empty.
    #[test]
    fn what_servers_wrote_is_followed() {
        for (stream, rows) in [
            (&include_bytes!("../../../../../fuzz/seeds/clickhouse_native/a86ed3851f62ea18")[..], 3),
            (&include_bytes!("../../../../../fuzz/seeds/clickhouse_native/50baad9b5097bd48")[..], 5),
            (&include_bytes!("../../../../../fuzz/seeds/clickhouse_native/b4274f86f60d863a")[..], 3),
        ] {
            let mut scanner = Scanner::new(None);
            scanner.feed(stream).unwrap();
            assert_eq!(scanner.finish(), Ok(rows));
        }
    }

    #[test]
    fn other_columns_are_refused() {
        let mut stream = block(&[(1, "x".into(), vec![])]);
        let mut other = stream.clone();
        let at = other.iter().position(|byte| *byte == b'n').unwrap();
        other[at] = b'm';
        stream.extend(other);
        assert!(matches!(scan(&[&stream]), Err(NativeError::NoBlock { rows: 1, .. })));
        let mut scanner = Scanner::new(Some(3));
        assert!(matches!(scanner.feed(&stream), Err(NativeError::NoBlock { rows: 0, .. })));
    }

    #[test]
    fn what_cannot_be_followed_is_said() {
        let mut stream = vec![1, 1];
        text(&mut stream, "j");
        text(&mut stream, "JSON");
        let mut scanner = Scanner::new(None);
        assert_eq!(scanner.feed(&stream), Err(NativeError::Opaque { name: "JSON".into() }));
    }
}
