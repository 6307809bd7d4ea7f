//! How `serve` listens, and whom it lets in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Problem;
use super::duration;
use super::section::Section;
use super::text::Node;
use super::value::Text;

/// `[serve]`. What it does not say, the command line may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Serve {
    /// Where.
    pub listen: Option<SocketAddr>,
    /// What whoever looks must know. Never in the file itself.
    pub token: Option<Text>,
    /// Its certificate, and those between it and one that is trusted, in PEM.
    pub tls_cert: Option<PathBuf>,
    /// The key of that, in PEM.
    pub tls_key: Option<PathBuf>,
    /// Who signs certificates of those who may look, in PEM.
    pub client_ca: Option<PathBuf>,
    /// Whether `/metrics` asks for the token too.
    pub metrics_token: Option<bool>,
    /// How many runs at once.
    pub parallel: Option<usize>,
    /// How often the journal is read.
    pub refresh: Option<Duration>,
    /// Whether it tells `[notify]` what was found; where nothing is said, it does where it runs schedules.
    pub alerts: Option<bool>,
    /// In which line each field stands.
    pub lines: Vec<(String, usize)>,
}

/// As the configuration has it.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fields {
    /// Where: an address and a port.
    listen: Option<String>,
    /// `env:NAME` or `file:PATH` of what whoever looks must know.
    token: Option<String>,
    /// Its certificate, in PEM.
    tls_cert: Option<PathBuf>,
    /// The key of that, in PEM.
    tls_key: Option<PathBuf>,
    /// Who signs certificates of those who may look, in PEM.
    client_ca: Option<PathBuf>,
    /// Whether `/metrics` asks for the token too.
    metrics_token: Option<bool>,
    /// How many runs at once.
    parallel: Option<u32>,
    /// How often the journal is read.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "super::schema::Span")]
    refresh: Option<Duration>,
    /// Whether it tells `[notify]` what was found: where nothing is said, it does where it runs schedules.
    alerts: Option<bool>,
}

impl Serve {
    pub(super) fn read(node: Node, problems: &mut Vec<Problem>) -> Self {
        let line = node.line;
        let section = Section::new(node, problems);
        let lines = section.lines();
        let fields: Fields = section.read(problems);
        let mut wrong = |name: &str, what: String| {
            let line = lines.iter().find(|(known, _)| known == name).map_or(line, |(_, line)| *line);
            problems.push(Problem { line, what });
        };
        let listen = fields.listen.as_deref().and_then(|listen| match listen.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let what =
                    format!("`{listen}` is no address: write 127.0.0.1:9898, [::1]:9898 or 0.0.0.0:9898");
                wrong("listen", what);
                None
            }
        });
        let token = fields.token.as_deref().map(Text::parse);
        if token.as_ref().is_some_and(|token| !token.is_reference()) {
            wrong("token", "a token does not stand here: write env:NAME or file:PATH".into());
        }
        if fields.tls_cert.is_some() != fields.tls_key.is_some() {
            wrong("tls_cert", "`tls_cert` and `tls_key` belong together".into());
        }
        if fields.client_ca.is_some() && fields.tls_cert.is_none() {
            wrong("client_ca", "`client_ca` needs `tls_cert` and `tls_key`".into());
        }
        if fields.parallel == Some(0) {
            wrong("parallel", "`parallel` is 1 or more: `serve --no-schedule` runs nothing".into());
        }
        if fields.refresh.is_some_and(|refresh| refresh.is_zero()) {
            wrong("refresh", "`refresh` is a second or more".into());
        }
        Self {
            listen,
            token: token.filter(Text::is_reference),
            tls_cert: fields.tls_cert,
            tls_key: fields.tls_key,
            client_ca: fields.client_ca,
            metrics_token: fields.metrics_token,
            parallel: fields.parallel.and_then(|parallel| usize::try_from(parallel).ok()),
            refresh: fields.refresh,
            alerts: fields.alerts,
            lines,
        }
    }
}
