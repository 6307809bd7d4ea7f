//! Types of columns, as far as their values can be followed.

/// Deeper types than this are not followed.
const MOST_NESTED: usize = 64;

/// What the values of a column are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// So many bytes each.
    Fixed(u64),
    /// A length and bytes.
    String,
    /// A byte each that says whether it is null, then values.
    Nullable(Box<ColumnType>),
    /// Where each ends, then all elements.
    Array(Box<ColumnType>),
    /// Each element's values one behind the other.
    Tuple(Vec<ColumnType>),
    /// A dictionary, then indexes into it.
    LowCardinality(Box<ColumnType>),
    /// States of aggregate functions, JSON and the like: how long a value is cannot be told without knowing what it means.
    Opaque,
}

impl ColumnType {
    /// That of a type's name, `Array(Nullable(UInt8))`. What is not known is opaque.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        parse(name, 0)
    }

    /// Whether the length of its values can be told.
    #[must_use]
    pub fn can_be_followed(&self) -> bool {
        match self {
            Self::Fixed(_) | Self::String => true,
            Self::Opaque => false,
            Self::Nullable(inner) | Self::Array(inner) | Self::LowCardinality(inner) => {
                inner.can_be_followed()
            }
            Self::Tuple(elements) => elements.iter().all(Self::can_be_followed),
        }
    }
}

fn parse(name: &str, depth: usize) -> ColumnType {
    let name = name.trim();
    if depth > MOST_NESTED {
        return ColumnType::Opaque;
    }
    let inner = |text: &str| Box::new(parse(text, depth + 1));
    let Some((head, arguments)) = split(name) else { return plain(name) };
    let parts = arguments_of(arguments);
    let first = parts.first().copied().unwrap_or_default();
    match head {
        "FixedString" => first.parse().map_or(ColumnType::Opaque, ColumnType::Fixed),
        "Enum8" => ColumnType::Fixed(1),
        "Enum16" => ColumnType::Fixed(2),
        "DateTime" | "Decimal32" => ColumnType::Fixed(4),
        "DateTime64" | "Time64" | "Decimal64" => ColumnType::Fixed(8),
        "Decimal128" => ColumnType::Fixed(16),
        "Decimal256" => ColumnType::Fixed(32),
        "Decimal" => match first.parse::<u64>() {
            Ok(0..=9) => ColumnType::Fixed(4),
            Ok(10..=18) => ColumnType::Fixed(8),
            Ok(19..=38) => ColumnType::Fixed(16),
            Ok(39..=76) => ColumnType::Fixed(32),
            _ => ColumnType::Opaque,
        },
        "Nullable" => ColumnType::Nullable(inner(arguments)),
        "Array" => ColumnType::Array(inner(arguments)),
        "LowCardinality" => ColumnType::LowCardinality(inner(arguments)),
        "SimpleAggregateFunction" => parts.get(1).map_or(ColumnType::Opaque, |of| *inner(of)),
        "Tuple" => ColumnType::Tuple(elements(&parts, depth)),
        "Nested" => ColumnType::Array(Box::new(ColumnType::Tuple(elements(&parts, depth)))),
        "Map" if parts.len() == 2 => {
            ColumnType::Array(Box::new(ColumnType::Tuple(parts.iter().map(|part| *inner(part)).collect())))
        }
        _ => ColumnType::Opaque,
    }
}

fn plain(name: &str) -> ColumnType {
    let point = || ColumnType::Tuple(vec![ColumnType::Fixed(8), ColumnType::Fixed(8)]);
    let many = |of: ColumnType| ColumnType::Array(Box::new(of));
    match name {
        "UInt8" | "Int8" | "Bool" | "Nothing" => ColumnType::Fixed(1),
        "UInt16" | "Int16" | "Date" | "BFloat16" => ColumnType::Fixed(2),
        "UInt32" | "Int32" | "Float32" | "Date32" | "DateTime" | "IPv4" | "Time" => ColumnType::Fixed(4),
        "UInt64" | "Int64" | "Float64" => ColumnType::Fixed(8),
        "UInt128" | "Int128" | "UUID" | "IPv6" => ColumnType::Fixed(16),
        "UInt256" | "Int256" => ColumnType::Fixed(32),
        "String" => ColumnType::String,
        "Point" => point(),
        "Ring" | "LineString" => many(point()),
        "Polygon" | "MultiLineString" => many(many(point())),
        "MultiPolygon" => many(many(many(point()))),
        name if name.starts_with("Interval") => ColumnType::Fixed(8),
        _ => ColumnType::Opaque,
    }
}

/// Of a tuple, which may have names: `a UInt8, `b c` String`.
fn elements(parts: &[&str], depth: usize) -> Vec<ColumnType> {
    parts.iter().map(|part| parse(without_name(part), depth + 1)).collect()
}

fn without_name(element: &str) -> &str {
    let element = element.trim();
    if let Some(quoted) = element.strip_prefix('`') {
        let mut escaped = false;
        for (at, byte) in quoted.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'`' => return quoted.get(at + 1..).unwrap_or_default().trim(),
                _ => {}
            }
        }
    }
    // `a UInt8` has a name, `Decimal(9, 2)` none.
    match element.split_once(' ') {
        Some((name, rest)) if !name.contains('(') => rest.trim(),
        _ => element,
    }
}

/// `Head(arguments)`
fn split(name: &str) -> Option<(&str, &str)> {
    let (head, rest) = name.split_once('(')?;
    Some((head.trim(), rest.strip_suffix(')')?))
}

/// Split at the commas that are in no bracket and in no quotes.
fn arguments_of(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quote, mut escaped) = (Vec::new(), 0, 0_usize, None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'`') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') => depth = depth.saturating_sub(1),
            (None, b',') if depth == 0 => {
                parts.push(text.get(start..at).unwrap_or_default().trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = text.get(start..).unwrap_or_default().trim();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_all_kinds_are_followed() {
        let string = || Box::new(ColumnType::String);
        for (name, found) in [
            ("UInt64", ColumnType::Fixed(8)),
            ("DateTime('Europe/Vienna')", ColumnType::Fixed(4)),
            ("DateTime64(3, 'UTC')", ColumnType::Fixed(8)),
            ("Decimal(38, 4)", ColumnType::Fixed(16)),
            ("FixedString(7)", ColumnType::Fixed(7)),
            ("Enum8('a, b' = 1, ')' = 2, '\\'' = 3)", ColumnType::Fixed(1)),
            ("Nullable(String)", ColumnType::Nullable(string())),
            ("LowCardinality(String)", ColumnType::LowCardinality(string())),
            ("SimpleAggregateFunction(sum, Decimal(9, 2))", ColumnType::Fixed(4)),
            ("Tuple()", ColumnType::Tuple(Vec::new())),
            (
                "Map(String, Array(UInt8))",
                ColumnType::Array(Box::new(ColumnType::Tuple(vec![
                    ColumnType::String,
                    ColumnType::Array(Box::new(ColumnType::Fixed(1))),
                ]))),
            ),
            (
                "Tuple(a UInt8, `b \\`c` String, Decimal(9, 2), Enum8('x y' = 1))",
                ColumnType::Tuple(vec![
                    ColumnType::Fixed(1),
                    ColumnType::String,
                    ColumnType::Fixed(4),
                    ColumnType::Fixed(1),
                ]),
            ),
            (
                "Nested(a UInt8, b String)",
                ColumnType::Array(Box::new(ColumnType::Tuple(vec![
                    ColumnType::Fixed(1),
                    ColumnType::String,
                ]))),
            ),
        ] {
            assert_eq!(ColumnType::parse(name), found, "{name}");
            assert!(found.can_be_followed(), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_opaque() {
        for name in [
            "AggregateFunction(uniq, UInt64)",
            "JSON",
            "Array(Variant(UInt8, String))",
            "Tuple(a Dynamic)",
            "",
            "(",
            ")",
            "FixedString(x)",
        ] {
            assert!(!ColumnType::parse(name).can_be_followed(), "{name}");
        }
        let deep = "Array(".repeat(5000) + "UInt8" + &")".repeat(5000);
        assert!(!ColumnType::parse(&deep).can_be_followed());
    }
}
