//! From the configuration of a `backup-databases.py` (JSON: `s3`, `postgresql`, `clickhouse`, `redis`, `retention`, `smtp`, ...) to one of
//! this program.
//!
//! No password is copied: what the old file had in it, or took from elsewhere, is a variable of the environment in the new one.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A configuration, and what is to be done by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// As a file.
    pub toml: String,
    /// What somebody has to see to.
    pub notes: Vec<String>,
}

/// What an old port of ClickHouse's own protocol is over HTTP.
const CLICKHOUSE_PORTS: [(u64, u64); 2] = [(9000, 8123), (9440, 8443)];
/// How the host of an Azure storage account ends.
const AZURE: &str = ".blob.core.windows.net";
/// What is there for every database of the old file.
const DATABASES: [&str; 3] = ["postgresql", "clickhouse", "redis"];

/// Reads an old configuration.
///
/// # Errors
/// Why it is none.
pub fn import(text: &str) -> Result<Imported, String> {
    let old: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Some(fields) = old.as_object().filter(|fields| fields.contains_key("s3")) else {
        return Err("it has no field `s3`: is it the configuration of a backup-databases.py?".into());
    };
    let mut new = New { toml: String::new(), notes: Vec::new() };
    new.line("# Made by `strongroom config import`: look through it, then `strongroom config check`.");
    new.line("schedule = \"0 2 * * *\"");
    new.line("expect_every = \"26h\"");
    new.repository(&fields["s3"])?;
    new.retention(fields.get("retention"));
    new.line("\n[forget]\nschedule = \"30 3 * * *\"");
    new.line("\n[prune]\nschedule = \"0 4 * * 0\"");
    new.line("\n[verify]\nevery = \"7d\"");
    for name in DATABASES {
        if let Some(of) = fields.get(name) {
            new.source(name, of);
            if let Some(hours) =
                fields.get("databases").and_then(|all| all[name]["expected_frequency_hours"].as_u64())
            {
                // A backup takes its time.
                new.line(&format!("expect_every = \"{}h\"", hours + 2));
            }
        }
    }
    new.channels(fields);
    let known = ["s3", "retention", "alerts", "smtp", "slack", "webhook", "databases"];
    for name in
        fields.keys().filter(|name| !known.contains(&name.as_str()) && !DATABASES.contains(&name.as_str()))
    {
        new.notes.push(format!("`{name}` of the old file was not understood, and is not in the new one"));
    }
    Ok(Imported { toml: new.toml, notes: new.notes })
}

struct New {
    toml: String,
    notes: Vec<String>,
}

impl New {
    fn line(&mut self, text: &str) {
        self.toml.push_str(text);
        self.toml.push('\n');
    }

    fn set(&mut self, name: &str, value: &str) {
        // A string takes all that is written.
        let _ = writeln!(self.toml, "{name} = {}", quoted(value));
    }

    fn repository(&mut self, s3: &Value) -> Result<(), String> {
        let bucket = text(s3, "bucket").ok_or("`s3` names no bucket")?;
        self.line("\n[repository]");
        let endpoint = text(s3, "endpoint_url");
        let host = endpoint.map(|url| url.split_once("://").map_or(url, |(_, rest)| rest));
        let account = host.and_then(|host| host.trim_end_matches('/').strip_suffix(AZURE));
        if let Some(account) = account {
            self.set("url", &format!("azure://{bucket}/strongroom"));
            self.line("\n[environment]");
            self.set("AZURE_STORAGE_ACCOUNT_NAME", account);
            self.notes.push("Azure Blob does not speak the language of S3: the key of the account is AZURE_STORAGE_ACCOUNT_KEY, or better a role of the host's".into());
            return Ok(());
        }
        self.set("url", &format!("s3://{bucket}/strongroom"));
        for (field, value) in [("region", text(s3, "region")), ("endpoint", endpoint)] {
            if let Some(value) = value {
                self.set(field, value);
            }
        }
        Ok(())
    }

    fn retention(&mut self, retention: Option<&Value>) {
        let Some(retention) = retention else { return };
        self.line("\n[retention]");
        for field in ["days", "compliance_days"] {
            if let Some(days) = retention[field].as_u64() {
                self.line(&format!("{field} = {days}"));
            }
        }
        if retention["compliance_days"].is_u64() {
            self.notes.push("compliance_days are of snapshots with the tag `compliance`: a source that has `tag = [\"compliance\"]` makes such".into());
        }
    }

    fn source(&mut self, name: &str, of: &Value) {
        let (host, user) = (text(of, "host").unwrap_or("localhost"), text(of, "user"));
        let port = of["port"].as_u64();
        let engine = if name == "postgresql" { "postgres" } else { name };
        self.line(&format!("\n[sources.{name}]"));
        self.set("engine", engine);
        let variable = match engine {
            "postgres" => {
                let mut conninfo = format!("host={host} port={}", port.unwrap_or(5432));
                for (key, value) in [("user", user), ("dbname", text(of, "database"))] {
                    if let Some(value) = value {
                        let _ = write!(conninfo, " {key}={value}");
                    }
                }
                self.set("dbname", &conninfo);
                "PGPASSWORD"
            }
            "clickhouse" => {
                let given = port.unwrap_or(8123);
                let known = CLICKHOUSE_PORTS.iter().find(|(own, _)| *own == given);
                let port = known.map_or(given, |(_, http)| *http);
                if known.is_some() {
                    self.notes.push(format!(
                        "ClickHouse is read over HTTP: port {given} became {port}, which must be open"
                    ));
                }
                let scheme = if port == 8443 { "https" } else { "http" };
                let user = user.map(|user| format!("{user}@")).unwrap_or_default();
                self.set("url", &format!("{scheme}://{user}{host}:{port}"));
                "CLICKHOUSE_PASSWORD"
            }
            _ => {
                let user = user.map(|user| format!("{user}@")).unwrap_or_default();
                self.set("url", &format!("redis://{user}{host}:{}", port.unwrap_or(6379)));
                "REDISCLI_AUTH"
            }
        };
        if let Some(database) = text(of, "database").filter(|_| engine != "redis") {
            self.line(&format!("database = [{}]", quoted(database)));
        }
        if of.get("password").is_some_and(|password| !password.is_null()) {
            let secret = format!("{}_PASSWORD", name.to_ascii_uppercase());
            self.line(&format!("environment = {{ {variable} = \"env:{secret}\" }}"));
            self.notes
                .push(format!("the password of {name} was not copied: put it into the variable {secret}"));
        }
    }

    fn channels(&mut self, old: &Map<String, Value>) {
        let is_on = |field: &str| old.get(field).filter(|of| of["enabled"] != Value::Bool(false));
        let recipients = old.get("alerts").and_then(|alerts| alerts["email_recipients"].as_array());
        let recipients: Vec<String> =
            recipients.into_iter().flatten().filter_map(Value::as_str).map(quoted).collect();
        if let Some(smtp) = is_on("smtp") {
            let server = text(smtp, "smtp_server").unwrap_or("localhost");
            let port = smtp["smtp_port"].as_u64().unwrap_or(587);
            let scheme = if port == 465 { "smtps" } else { "smtp" };
            let user = text(smtp, "username")
                .map(|user| format!("{}@", user.replace('@', "%40")))
                .unwrap_or_default();
            self.line("\n[notify.mail]");
            self.set("smtp", &format!("{scheme}://{user}{server}:{port}"));
            self.set("from", text(smtp, "from_email").unwrap_or("strongroom@localhost"));
            self.line(&format!("to = [{}]", recipients.join(", ")));
            if smtp.get("password").is_some() {
                self.set("password", "env:SMTP_PASSWORD");
                self.notes.push(
                    "the password of the mail server was not copied: put it into the variable SMTP_PASSWORD"
                        .into(),
                );
            }
            if recipients.is_empty() {
                self.notes.push("nobody is named to write mails to: fill in `to` of [notify.mail]".into());
            }
        } else if !recipients.is_empty() {
            self.notes.push("there are recipients of mails, and no mail server: add [notify.mail]".into());
        }
        if is_on("slack").is_some() {
            self.line("\n[notify.slack]\nslack = \"env:SLACK_WEBHOOK_URL\"");
            self.notes.push("the URL of Slack's webhook is a secret and was not copied: put it into the variable SLACK_WEBHOOK_URL".into());
        }
        if let Some(url) = is_on("webhook").and_then(|webhook| text(webhook, "url")) {
            self.line("\n[notify.webhook]");
            self.set("webhook", url);
        }
    }
}

fn text<'v>(of: &'v Value, field: &str) -> Option<&'v str> {
    of[field].as_str().filter(|text| !text.is_empty())
}

/// As TOML has a text.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, OptionValue, Text};
    use super::*;

    const OLD: &str = r#"{
        "s3": { "bucket": "comply-ai-backups", "region": "us-east-1", "endpoint_url": null },
        "postgresql": { "host": "postgresql-service", "port": 5432, "database": "llama_mapper", "user": "complyai", "password": "from_kubernetes_secret" },
        "clickhouse": { "host": "clickhouse-service", "port": 9000, "database": "llama_mapper", "user": "default", "password": "p" },
        "redis": { "host": "redis-service", "port": 6379, "password": "p" },
        "retention": { "days": 30, "compliance_days": 2555 },
        "alerts": { "email_recipients": ["admin@company.com"], "enabled": true },
        "smtp": { "enabled": true, "smtp_server": "smtp.company.com", "smtp_port": 587, "username": "backup-monitor@company.com", "password": "password", "from_email": "backup-monitor@company.com" },
        "slack": { "enabled": true, "webhook_url": "https://hooks.slack.com/services/x" },
        "webhook": { "enabled": false, "url": "https://monitoring.company.com/webhook" },
        "databases": { "redis": { "expected_frequency_hours": 24 } }
    }"#;

    #[test]
    fn what_is_imported_is_a_configuration_without_a_secret() {
        let imported = import(OLD).unwrap();
        let (config, problems) = Config::parse(&imported.toml, Path::new("x.toml"));
        assert_eq!(problems, [], "{}", imported.toml);
        let names: Vec<&str> = config.sources.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, DATABASES);
        let url = OptionValue::One(Text::parse("http://default@clickhouse-service:8123"));
        assert!(config.source("clickhouse").unwrap().options.iter().any(|option| option.value == url));
        assert_eq!(config.notify.len(), 2);
        assert_eq!(config.keep("redis").unwrap().tags_within.len(), 1);
        assert_eq!(config.expectations("redis").expect_every.map(|every| every.as_secs() / 3600), Some(26));
        assert!(
            !imported.toml.contains("hooks.slack.com") && !imported.toml.contains("\"p\""),
            "{}",
            imported.toml
        );
        assert!(imported.notes.iter().any(|note| note.contains("9000 became 8123")), "{:?}", imported.notes);
    }

    #[test]
    fn azure_is_what_it_is() {
        let old = r#"{ "s3": { "bucket": "b", "region": "eastus", "endpoint_url": "https://complyaistorage.blob.core.windows.net" } }"#;
        let imported = import(old).unwrap();
        assert!(imported.toml.contains("url = \"azure://b/strongroom\""), "{}", imported.toml);
        assert!(
            imported.toml.contains("AZURE_STORAGE_ACCOUNT_NAME = \"complyaistorage\""),
            "{}",
            imported.toml
        );
        assert!(import("{}").is_err() && import("x").is_err());
    }
}
