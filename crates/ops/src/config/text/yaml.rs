//! YAML 1.2 with its core schema (<https://yaml.org/spec/1.2.2/#103-core-schema>), and JSON, which is a part of it.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{DEEPEST, Key, Node, Problem, Value};

/// Aliases may not make more of a text than this many nodes.
const MOST_NODES: usize = 100_000;

pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| Problem { line: error.marker().line(), what: error.info().to_owned() })?;
        tree.take(event, span)?;
    }
    Ok(tree.root.unwrap_or(Node { line: 1, value: Value::Table(Vec::new()) }))
}

/// A list or table that has not ended.
struct Open {
    node: Node,
    anchor: usize,
    /// Of a table: the key whose value comes next.
    key: Option<Key>,
}

#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
                let value = if is_text { Value::Text(text.into_owned()) } else { plain(&text) };
                self.end(Node { line, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(line, Value::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => self.begin(line, Value::Table(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, .. }) => self.end(node, anchor),
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(wrong(line, "this alias is of nothing"));
                };
                self.nodes += count(&node);
                self.end(node, 0)
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(wrong(line, "a second document begins: a configuration is one"))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, value: Value, anchor: usize) -> Result<(), Problem> {
        if self.open.len() >= DEEPEST {
            return Err(wrong(line, "it lies too deep"));
        }
        self.open.push(Open { node: Node { line, value }, anchor, key: None });
        Ok(())
    }

    fn end(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(wrong(node.line, "it is too large"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(Open { node: outer, key, .. }) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut outer.value, key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Table(fields), Some(name)) => fields.push((name, node)),
            (Value::Table(fields), None) => {
                let name = match node.value {
                    Value::Text(name) => name,
                    Value::Bool(is) => is.to_string(),
                    Value::Integer(number) => number.to_string(),
                    _ => return Err(wrong(node.line, "this cannot be the name of a field")),
                };
                if fields.iter().any(|(key, _)| key.name == name) {
                    return Err(wrong(node.line, &format!("`{name}` stands here a second time")));
                }
                *key = Some(Key { line: node.line, name });
            }
            _ => {}
        }
        Ok(())
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(count).sum(),
        Value::Table(fields) => fields.iter().map(|(_, node)| count(node)).sum(),
        _ => 0,
    }
}

fn wrong(line: usize, what: &str) -> Problem {
    Problem { line, what: what.to_owned() }
}

/// What stands there without quotes.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(number) = text.parse() {
        return Value::Integer(number);
    }
    let looks_like_a_number =
        text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) && text != ".";
    match text.parse() {
        Ok(number) if looks_like_a_number => Value::Float(number),
        _ => Value::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = parse("a: 1\nb:\n  - true\n  - \"5\"\n  - 0 2 * * *\nc: {d: ~}\n").unwrap();
        let json =
            parse("{\n\t\"a\": 1,\n\t\"b\": [true, \"5\", \"0 2 * * *\"],\n\t\"c\": {\"d\": null}\n}\n")
                .unwrap();
        fn bare(node: &Node) -> String {
            match &node.value {
                Value::List(items) => format!("{:?}", items.iter().map(bare).collect::<Vec<_>>()),
                Value::Table(fields) => {
                    format!(
                        "{:?}",
                        fields.iter().map(|(key, node)| (&key.name, bare(node))).collect::<Vec<_>>()
                    )
                }
                value => format!("{value:?}"),
            }
        }
        assert_eq!(bare(&yaml), bare(&json));
        let Value::Table(fields) = &yaml.value else { panic!("a table") };
        assert_eq!((fields[1].0.line, fields[2].0.line), (2, 6));
    }

    #[test]
    fn what_cannot_be_is_told_with_its_line() {
        for (text, line) in
            [("a: 1\na: 2\n", 2), ("a: 1\n---\nb: 2\n", 2), ("a: [1\nb: 2\n", 2), ("a: *b\n", 1)]
        {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
        assert!(parse(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn aliases_are_followed_and_make_no_bombs() {
        let two = parse("a: &x {k: 1}\nb: *x\n").unwrap();
        let Value::Table(fields) = &two.value else { panic!("a table") };
        assert_eq!(fields[0].1.value, fields[1].1.value);
        let mut bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
        for n in 1..20 {
            let last = n - 1;
            bomb += &format!(
                "a{n}: &a{n} [*a{last}, *a{last}, *a{last}, *a{last}, *a{last}, *a{last}, *a{last}, *a{last}]\n"
            );
        }
        assert!(parse(&bomb).unwrap_err().what.contains("too large"));
    }
}
