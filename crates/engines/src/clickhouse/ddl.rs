//! SQL that makes tables: what it refers to, and how it reads for tables of other names.

use std::collections::{BTreeMap, BTreeSet};

use super::session::{literal, quoted};

/// A database and a table.
pub(super) type Name = (String, String);

/// Engines that name the table which they stand before, as arguments.
const POINTING: [&str; 3] = ["Distributed", "Buffer", "Dictionary"];

/// A word of SQL, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A name or a keyword, without its quotes.
    Word(String),
    /// A text, without its quotes.
    Text(String),
    Sign(char),
}

/// Two words that together are the name of a table.
struct Reference {
    name: Name,
    /// Where what stands for it lies, and how it is written: both names by themselves, or one text.
    places: Vec<(usize, usize, Style)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    DatabaseWord,
    TableWord,
    DatabaseText,
    TableText,
    /// `'database.table'`
    Both,
}

/// The tables that SQL refers to, of these.
pub(super) fn references(sql: &str, known: &BTreeSet<Name>) -> BTreeSet<Name> {
    find(sql, &|name| known.contains(name)).into_iter().map(|reference| reference.name).collect()
}

/// The same SQL, with other names for these tables.
pub(super) fn renamed(sql: &str, names: &BTreeMap<Name, Name>) -> String {
    let mut places: Vec<(usize, usize, String)> = Vec::new();
    for reference in find(sql, &|name| names.get(name).is_some_and(|new| new != name)) {
        let Some((database, table)) = names.get(&reference.name) else { continue };
        for (start, end, style) in reference.places {
            let text = match style {
                Style::DatabaseWord => quoted(database),
                Style::TableWord => quoted(table),
                Style::DatabaseText => literal(database),
                Style::TableText => literal(table),
                Style::Both => literal(&format!("{database}.{table}")),
            };
            places.push((start, end, text));
        }
    }
    places.sort();
    let (mut out, mut at) = (String::with_capacity(sql.len()), 0);
    for (start, end, text) in places {
        // Two ways to read it lead to the same.
        if start >= at {
            out.push_str(sql.get(at..start).unwrap_or_default());
            out.push_str(&text);
            at = end;
        }
    }
    out.push_str(sql.get(at..).unwrap_or_default());
    out
}

/// The same table without replicas: a test of a restore must not join those of the server that was backed up.
pub(super) fn unreplicated(sql: &str) -> String {
    let tokens = tokens(sql);
    let mut out = sql.to_owned();
    for (at, window) in tokens.windows(3).enumerate().rev() {
        let [Token { kind: Kind::Word(word), .. }, Token { kind: Kind::Sign('='), .. }, engine] = window
        else {
            continue;
        };
        let Kind::Word(name) = &engine.kind else { continue };
        let plain = name.strip_prefix("Replicated").or_else(|| name.strip_prefix("Shared"));
        let Some(plain) =
            plain.filter(|plain| word.eq_ignore_ascii_case("ENGINE") && plain.ends_with("MergeTree"))
        else {
            continue;
        };
        let mut end = engine.end;
        let behind = tokens.get(at + 3..).unwrap_or_default();
        // Where it lies, and which replica it is.
        if let [
            Token { kind: Kind::Sign('('), .. },
            Token { kind: Kind::Text(_), .. },
            Token { kind: Kind::Sign(','), .. },
            Token { kind: Kind::Text(_), .. },
            next,
            ..,
        ] = behind
        {
            end = if next.kind == Kind::Sign(',') { next.end } else { next.start };
            out.replace_range(engine.start..end, &format!("{plain}("));
        } else {
            out.replace_range(engine.start..end, plain);
        }
    }
    out
}

/// Whether rows expire, or values of a column.
pub(super) fn has_ttl(sql: &str) -> bool {
    tokens(sql).iter().any(|token| plain(sql, token) == "TTL")
}

/// Whether a materialized view is filled by a schedule: `REFRESH EVERY 1 HOUR`.
pub(super) fn is_refreshable(sql: &str) -> bool {
    let tokens = tokens(sql);
    tokens
        .windows(2)
        .any(|pair| plain(sql, &pair[0]) == "REFRESH" && ["EVERY", "AFTER"].contains(&plain(sql, &pair[1])))
}

/// The same materialized view, which is not filled when it is made.
pub(super) fn unfilled(sql: &str) -> String {
    let tokens = tokens(sql);
    let mut depth = 0_usize;
    let mut last = "";
    for (at, token) in tokens.iter().enumerate() {
        let word = plain(sql, token);
        let next = tokens.get(at + 1).map(|next| plain(sql, next)).unwrap_or_default();
        match word {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_place = match word {
            "DEFINER" => next == "=",
            "SQL" => next == "SECURITY",
            "AS" => ["SELECT", "WITH", "("].contains(&next),
            _ => false,
        };
        if depth == 0 && is_place {
            let (before, behind) = sql.split_at(token.start);
            return if last == "EMPTY" { sql.to_owned() } else { format!("{before}EMPTY {behind}") };
        }
        last = word;
    }
    sql.to_owned()
}

/// As it stands there, with its quotes: a keyword has none.
fn plain<'s>(sql: &'s str, token: &Token) -> &'s str {
    sql.get(token.start..token.end).unwrap_or_default()
}

fn find(sql: &str, is_wanted: &dyn Fn(&Name) -> bool) -> Vec<Reference> {
    let tokens = tokens(sql);
    let mut found = Vec::new();
    let mut take = |name: Name, places: Vec<(usize, usize, Style)>| {
        if is_wanted(&name) {
            found.push(Reference { name, places });
        }
    };
    let mut engine = String::new();
    for (at, token) in tokens.iter().enumerate() {
        let behind = |steps: usize| tokens.get(at + steps);
        let is_after_dot =
            at.checked_sub(1).and_then(|at| tokens.get(at)).is_some_and(|one| one.kind == Kind::Sign('.'));
        match &token.kind {
            Kind::Word(database) if !is_after_dot => {
                if let (
                    Some(Token { kind: Kind::Sign('.'), .. }),
                    Some(Token { kind: Kind::Word(table), start, end }),
                ) = (behind(1), behind(2))
                {
                    let places =
                        vec![(token.start, token.end, Style::DatabaseWord), (*start, *end, Style::TableWord)];
                    take((database.clone(), table.clone()), places);
                }
                if database.eq_ignore_ascii_case("ENGINE")
                    && let Some(Token { kind: Kind::Word(name), .. }) = behind(2)
                {
                    engine.clone_from(name);
                }
            }
            Kind::Text(text) => {
                if let Some((database, table)) = text.split_once('.') {
                    take(
                        (database.to_owned(), table.to_owned()),
                        vec![(token.start, token.end, Style::Both)],
                    );
                }
            }
            _ => {}
        }
        // `Distributed('cluster', 'database', 'table')`, in words or texts.
        if POINTING.contains(&engine.as_str())
            && let (Some((database, first)), Some(Token { kind: Kind::Sign(','), .. }), Some(second)) =
                (named(Some(token), true), behind(1), behind(2))
            && let Some((table, second)) = named(Some(second), false)
        {
            take((database, table), vec![first, second]);
        }
        // Of a dictionary: `TABLE 'table' DB 'database'`, in any order.
        if let Kind::Word(word) = &token.kind
            && word.eq_ignore_ascii_case("DB")
            && let Some(Token { kind: Kind::Text(database), start, end }) = behind(1)
            && let Some((table, place)) = table_of_source(&tokens)
        {
            take((database.clone(), table), vec![(*start, *end, Style::DatabaseText), place]);
        }
    }
    found
}

/// `TABLE 'table'`
fn table_of_source(tokens: &[Token]) -> Option<(String, (usize, usize, Style))> {
    tokens.windows(2).find_map(|window| match window {
        [Token { kind: Kind::Word(word), .. }, Token { kind: Kind::Text(table), start, end }]
            if word.eq_ignore_ascii_case("TABLE") =>
        {
            Some((table.clone(), (*start, *end, Style::TableText)))
        }
        _ => None,
    })
}

fn named(token: Option<&Token>, is_database: bool) -> Option<(String, (usize, usize, Style))> {
    let token = token?;
    let (name, style) = match (&token.kind, is_database) {
        (Kind::Word(name), true) => (name, Style::DatabaseWord),
        (Kind::Word(name), false) => (name, Style::TableWord),
        (Kind::Text(name), true) => (name, Style::DatabaseText),
        (Kind::Text(name), false) => (name, Style::TableText),
        (Kind::Sign(_), _) => return None,
    };
    Some((name.clone(), (token.start, token.end, style)))
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut characters = sql.char_indices().peekable();
    while let Some((start, character)) = characters.next() {
        if character.is_whitespace() {
            continue;
        }
        let mut end = start + character.len_utf8();
        let kind = match character {
            '\'' | '`' | '"' => {
                let mut text = String::new();
                while let Some((at, next)) = characters.next() {
                    end = at + next.len_utf8();
                    match next {
                        '\\' => {
                            if let Some((at, escaped)) = characters.next() {
                                end = at + escaped.len_utf8();
                                text.push(escaped);
                            }
                        }
                        // Doubled, it is one of the text.
                        next if next == character => match characters.peek() {
                            Some((_, again)) if *again == character => {
                                characters.next();
                                text.push(character);
                            }
                            _ => break,
                        },
                        next => text.push(next),
                    }
                }
                if character == '\'' { Kind::Text(text) } else { Kind::Word(text) }
            }
            character if character.is_alphanumeric() || character == '_' => {
                let mut word = String::from(character);
                while let Some((at, next)) =
                    characters.next_if(|(_, next)| next.is_alphanumeric() || *next == '_')
                {
                    end = at + next.len_utf8();
                    word.push(next);
                }
                Kind::Word(word)
            }
            character => Kind::Sign(character),
        };
        tokens.push(Token { kind, start, end });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(database: &str, table: &str) -> Name {
        (database.into(), table.into())
    }

    fn rename(sql: &str) -> String {
        let names = BTreeMap::from([
            (name("shop", "t"), name("new", "u")),
            (name("shop", "odd.`name"), name("new", "odd")),
        ]);
        renamed(sql, &names)
    }

    #[test]
    fn tables_are_renamed_wherever_they_are_named() {
        for (before, after) in [
            ("CREATE TABLE shop.t (`a` UInt8)", "CREATE TABLE `new`.`u` (`a` UInt8)"),
            ("CREATE TABLE shop.`odd.\\`name` (x Int8)", "CREATE TABLE `new`.`odd` (x Int8)"),
            ("SELECT t.a, 'shop' FROM \"shop\".t AS t", "SELECT t.a, 'shop' FROM `new`.`u` AS t"),
            ("SELECT a.shop.t, shop.other", "SELECT a.shop.t, shop.other"),
            ("SELECT dictGet('shop.t', 'x', 1)", "SELECT dictGet('new.u', 'x', 1)"),
            (
                "ENGINE = Distributed('c', 'shop', 't', rand())",
                "ENGINE = Distributed('c', 'new', 'u', rand())",
            ),
            ("ENGINE = Buffer(shop, t, 16)", "ENGINE = Buffer(`new`, `u`, 16)"),
            ("CREATE TABLE x (shop, t) ENGINE = Log", "CREATE TABLE x (shop, t) ENGINE = Log"),
            (
                "SOURCE(CLICKHOUSE(TABLE 't' PASSWORD 'it\\'s' DB 'shop'))",
                "SOURCE(CLICKHOUSE(TABLE 'u' PASSWORD 'it\\'s' DB 'new'))",
            ),
            ("broken 'text without end shop.t", "broken 'text without end shop.t"),
        ] {
            assert_eq!(rename(before), after);
        }
    }

    #[test]
    fn references_are_found() {
        let known = BTreeSet::from([name("shop", "t"), name("shop", "v")]);
        let sql = "CREATE MATERIALIZED VIEW shop.v TO shop.`t` AS SELECT * FROM shop.w";
        assert_eq!(references(sql, &known), known);
    }

    #[test]
    fn what_goes_by_itself_is_known_by_its_keywords() {
        assert!(has_ttl(
            "CREATE TABLE a.b (`d` Date) ENGINE = MergeTree ORDER BY d TTL d + toIntervalDay(30)"
        ));
        assert!(has_ttl(
            "CREATE TABLE a.b (`d` Date, `x` UInt8 TTL d + toIntervalDay(1)) ENGINE = MergeTree"
        ));
        assert!(!has_ttl("CREATE TABLE a.b (`TTL` Date COMMENT 'TTL') ENGINE = MergeTree ORDER BY `TTL`"));
        assert!(is_refreshable("CREATE MATERIALIZED VIEW a.b REFRESH EVERY 1 HOUR (`x` UInt8) AS SELECT 1"));
        assert!(!is_refreshable("CREATE MATERIALIZED VIEW a.b TO a.c AS SELECT x AS REFRESH FROM a.d"));
    }

    #[test]
    fn views_are_made_empty() {
        let view =
            "CREATE MATERIALIZED VIEW a.b REFRESH EVERY 1 HOUR (`x` UInt8 DEFAULT 1) ENGINE = MergeTree";
        for (before, after) in [
            ("AS SELECT 1 AS x", "EMPTY AS SELECT 1 AS x"),
            ("AS WITH (SELECT 1) AS y SELECT y", "EMPTY AS WITH (SELECT 1) AS y SELECT y"),
            (
                "DEFINER = me SQL SECURITY DEFINER AS SELECT 1",
                "EMPTY DEFINER = me SQL SECURITY DEFINER AS SELECT 1",
            ),
            ("SQL SECURITY NONE AS SELECT 1", "EMPTY SQL SECURITY NONE AS SELECT 1"),
            ("EMPTY AS SELECT 1", "EMPTY AS SELECT 1"),
        ] {
            assert_eq!(unfilled(&format!("{view} {before}")), format!("{view} {after}"));
        }
    }

    #[test]
    fn replicas_are_made_plain() {
        for (before, after) in [
            (
                "ENGINE = ReplicatedMergeTree('/a/{shard}', '{replica}') ORDER BY a",
                "ENGINE = MergeTree() ORDER BY a",
            ),
            (
                "ENGINE = ReplicatedReplacingMergeTree('/a', 'b', version) ORDER BY a",
                "ENGINE = ReplacingMergeTree( version) ORDER BY a",
            ),
            ("ENGINE = ReplicatedMergeTree ORDER BY a", "ENGINE = MergeTree ORDER BY a"),
            ("ENGINE = MergeTree ORDER BY Replicated", "ENGINE = MergeTree ORDER BY Replicated"),
        ] {
            assert_eq!(unreplicated(before), after);
        }
    }
}
