//! The JSON Schema of a configuration, made of the types that read it; the names of options, which the command line alone knows, are
//! given.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::serve::Fields as Serve;
use super::source::{Source, Terms};
use super::storage::Storage;
use super::task::Due;
use super::{AuditRules, DrillPlan};
use crate::notify::Fields as Channel;

/// Options that the command line has, each with a schema of its values.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Of every command, as `[repository]` sets them.
    pub repository: Map<String, Value>,
    /// Of the backup of each engine.
    pub engines: Vec<(String, Map<String, Value>)>,
    /// Of `verify` and of what is done of the repository, by their tables' names.
    pub tasks: Vec<(String, Map<String, Value>)>,
}

/// A length of time.
pub(crate) struct Span;

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+[smhdwy]?$" })
    }
}

/// So many bytes.
pub(crate) struct Size;

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+" })
    }
}

/// The schema, of 2020-12.
#[must_use]
pub fn schema(known: &Known) -> Value {
    let (terms, task) = (properties_of::<Terms>(), properties_of::<Due>());
    let task = |options: &Map<String, Value>| {
        let own = task.clone().into_iter().chain(options.clone());
        let both = json!({ "required": ["schedule", "every"] });
        json!({ "type": ["object", "null"], "properties": own.collect::<Map<_, _>>(), "additionalProperties": false, "not": both })
    };
    let of_task = |name: &str| {
        let options = known.tasks.iter().find(|(task, _)| task == name).map(|(_, options)| options.clone());
        task(&options.unwrap_or_default())
    };
    let mut properties = terms.clone();
    let repository = json!({
        "description": "Options of every command: where the repository is, and how it is opened.",
        "anyOf": [{ "type": "string" }, object(&known.repository)],
    });
    let source = source(terms, &known.engines, &of_task("verify"));
    for (name, described, of) in [
        ("repository", None, repository),
        ("environment", Some("Variables of every command, where they are not set already."), variables()),
        ("storage", Some("How large the repository may become."), whole::<Storage>()),
        ("serve", Some("How `serve` listens, and whom it lets in."), whole::<Serve>()),
        ("notify", Some("Whom to tell what was found."), each(&whole::<Channel>())),
        (
            "time_zone",
            Some("Of all schedules, by its name in the IANA database."),
            json!({ "type": "string" }),
        ),
        ("verify", Some("Restore tests, with options of `verify`."), of_task("verify")),
        ("forget", Some("When the retention is applied."), of_task("forget")),
        (
            "wal_expire",
            Some("When what no base backup needs of log archives is given up, with options of `wal expire`."),
            of_task("wal_expire"),
        ),
        (
            "sync",
            Some("When what is new is copied to a second repository, with options of `sync`."),
            of_task("sync"),
        ),
        ("prune", Some("When what no snapshot needs is freed."), of_task("prune")),
        ("check", Some("When the repository is checked."), of_task("check")),
        ("sources", Some("What is backed up."), each(&source)),
        ("drills", Some("What people practise."), each(&whole::<DrillPlan>())),
        ("audit", Some("What is demanded of the audit trail."), whole::<AuditRules>()),
        (
            "recipients",
            Some("Who is to open the repository, as `init` takes it."),
            json!({ "type": "array", "items": { "type": "string" } }),
        ),
    ] {
        let mut of = of;
        if let Some(described) = described {
            of["description"] = described.into();
        }
        properties.insert(name.to_owned(), of);
    }
    let mut all = object(&properties);
    all["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    all["title"] = "strongroom.toml".into();
    all["description"] = "What is backed up when, what is kept, and what is expected of it.".into();
    all
}

/// One source: options are those of its engine.
fn source(terms: Map<String, Value>, engines: &[(String, Map<String, Value>)], verify: &Value) -> Value {
    let names: Vec<&String> = engines.iter().map(|(name, _)| name).collect();
    let mut properties = terms;
    for (name, of) in Source::OWN.into_iter().zip([json!({ "enum": names }), variables(), verify.clone()]) {
        properties.insert(name.to_owned(), of);
    }
    let of_engine = |(name, options): &(String, Map<String, Value>)| {
        json!({
            "if": { "properties": { "engine": { "const": name } }, "required": ["engine"] },
            "then": { "properties": options },
        })
    };
    json!({
        "type": ["object", "null"], "properties": properties, "unevaluatedProperties": false,
        "allOf": engines.iter().map(of_engine).collect::<Vec<_>>(),
    })
}

fn variables() -> Value {
    each(&json!({ "type": ["string", "number"] }))
}

/// Names that somebody chooses, each for one of these.
fn each(of: &Value) -> Value {
    json!({ "type": ["object", "null"], "additionalProperties": of })
}

fn object(properties: &Map<String, Value>) -> Value {
    json!({ "type": ["object", "null"], "properties": properties, "additionalProperties": false })
}

/// Of a type, with all that it is made of in its place.
fn whole<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("title");
    }
    schema
}

fn properties_of<T: JsonSchema>() -> Map<String, Value> {
    match whole::<T>()["properties"].take() {
        Value::Object(properties) => properties,
        _ => Map::new(),
    }
}

/// Defaults are those of types, not of what is meant where nothing is said.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            // A field may be called so; a keyword's value is never a schema with a type.
            fields.retain(|name, value| name != "default" || value.get("type").is_some());
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::Config;
    use super::super::task::Task;
    use super::*;

    fn names(value: &Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    fn is_unknown(text: &str) -> bool {
        let (_, problems) = Config::parse(text, Path::new("c.toml"));
        problems.iter().any(|problem| problem.what.contains("is unknown here"))
    }

    #[test]
    fn what_the_schema_names_is_what_is_read() {
        let schema = schema(&Known::default());
        let own = Config::KEYS.into_iter().chain(Terms::NAMES).map(str::to_owned);
        assert_eq!(names(&schema["properties"]), own.collect());
        let of_source = &schema["properties"]["sources"]["additionalProperties"]["properties"];
        let own = Source::OWN.into_iter().chain(Terms::NAMES).map(str::to_owned);
        assert_eq!(names(of_source), own.collect());
        let task = names(&schema["properties"]["prune"]["properties"]);
        assert_eq!(task, Task::OWN.map(str::to_owned).into());
        assert!(is_unknown("typo = 1"));
        for name in names(&schema["properties"]) {
            assert!(!is_unknown(&format!("{name} = 1")), "{name}");
        }
        // Tables that are read as a whole name all their fields, and no other is taken.
        let notify = &schema["properties"]["notify"]["additionalProperties"];
        let drills = &schema["properties"]["drills"]["additionalProperties"];
        for (table, of) in [
            ("retention", &schema["properties"]["retention"]),
            ("slo", &schema["properties"]["slo"]),
            ("storage", &schema["properties"]["storage"]),
            ("audit", &schema["properties"]["audit"]),
            ("notify.x", notify),
            ("drills.x", drills),
        ] {
            assert!(is_unknown(&format!("[{table}]\ntypo = 1")), "{table}");
            let fields = of.pointer("/properties").or_else(|| of.pointer("/anyOf/0/properties"));
            for name in names(fields.unwrap_or_else(|| panic!("{table}: {of}"))) {
                assert!(!is_unknown(&format!("[{table}]\n{name} = 1")), "{table}.{name}");
            }
        }
    }
}
