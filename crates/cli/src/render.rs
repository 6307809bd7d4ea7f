//! How things look to people.

use jiff::Timestamp;
use jiff::tz::TimeZone;
pub(crate) use strongroom_ops::words::{bytes, count, files, span};

/// Milliseconds since 1970 in local time.
pub(crate) fn time_ms(time: i64) -> String {
    Timestamp::from_millisecond(time).map_or_else(
        |_| time.to_string(),
        |time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// Milliseconds since 1970 as RFC 3339, for machines.
pub(crate) fn rfc3339_ms(time: i64) -> String {
    Timestamp::from_millisecond(time).map_or_else(|_| time.to_string(), |time| time.to_string())
}

/// Nanoseconds since 1970 as RFC 3339.
pub(crate) fn rfc3339_ns(time: i64) -> String {
    Timestamp::from_nanosecond(time.into()).map_or_else(|_| time.to_string(), |time| time.to_string())
}

/// A table with aligned columns; those of `right` are aligned to the right.
pub(crate) fn table(header: &[&str], right: &[usize], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (column, cell) in cells.enumerate() {
            let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let (before, after) =
                if right.contains(&column) { (padding.as_str(), "") } else { ("", padding.as_str()) };
            out.push_str(before);
            out.push_str(cell);
            out.push_str(after);
            out.push_str("  ");
        }
        out.trim_end().to_owned() + "\n"
    };
    let mut out = line(&mut header.iter().copied());
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

/// Text from a repository, safe for a terminal.
pub(crate) fn safe(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// A word as a shell takes it for one.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./:@,+%".contains(&byte);
    match !word.is_empty() && word.bytes().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", safe(word).replace('\'', r"'\''")),
    }
}

/// Bytes of a path, as text where it is text, for JSON; the escaped form otherwise.
pub(crate) fn path_json(path: &strongroom_format::path::EntryPath) -> serde_json::Value {
    match std::str::from_utf8(path.as_bytes()) {
        Ok(text) => text.into(),
        Err(_) => serde_json::json!({ "escaped": path.to_string(), "hex": hex::encode(path.as_bytes()) }),
    }
}

/// What a delta did, to go behind something else; nothing for what was none.
pub(crate) fn delta(is_delta: bool, written: u64, deleted: u64) -> String {
    if is_delta {
        format!(", {} of them written, {deleted} others deleted", bytes(written))
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        assert_eq!(
            table(&["A", "B"], &[1], &[vec!["x".into(), "10".into()], vec!["yy".into(), "9".into()]]),
            "A    B\nx   10\nyy   9\n"
        );
    }
}
