//! A server on a bad day.
//!
//! Faults are scripted by [`Rule`]s, or drawn by a seed; each request is recorded with the fault it met.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};

use super::locked;
use crate::http::message::{Request, Response};
use crate::http::server::{Exchange, Next, Server};
use crate::http::{Answer, xml_escaped};

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// 503: too many requests. Not passed on.
    SlowDown,
    /// 500. Not passed on.
    InternalError,
    /// 400: temporary credentials are over. Not passed on.
    ExpiredToken,
    /// 403: the client's clock is wrong. Not passed on.
    RequestTimeTooSkewed,
    /// 403. Not passed on.
    AccessDenied,
    /// The connection breaks before anything was done.
    CutBefore,
    /// It was done, and nobody says so: the connection ends without an answer.
    AnswerLost,
    /// It was done; the connection breaks in the middle of the answer's body, or of its head if it has none.
    CutInBody,
    /// As `CutInBody`, but the connection ends in order: the answer is shorter than its `Content-Length`.
    ShortBody,
    /// The answer is whole and says so, but its body is the first half of what it should be.
    HalfBody,
    /// A listing is answered as the same listing was the first time; other requests are passed on.
    StaleList,
}

impl Fault {
    /// Those after which trying again helps, whatever the request.
    pub const PASSING: [Self; 6] = [
        Self::SlowDown,
        Self::InternalError,
        Self::CutBefore,
        Self::AnswerLost,
        Self::CutInBody,
        Self::ShortBody,
    ];

    /// Status, code and message of those that are an answer.
    fn refusal(self) -> Option<(u16, &'static str, &'static str)> {
        Some(match self {
            Self::SlowDown => (503, "SlowDown", "Please reduce your request rate."),
            Self::InternalError => {
                (500, "InternalError", "We encountered an internal error. Please try again.")
            }
            Self::ExpiredToken => (400, "ExpiredToken", "The provided token has expired."),
            Self::RequestTimeTooSkewed => (
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
            ),
            Self::AccessDenied => (403, "AccessDenied", "Access Denied"),
            _ => return None,
        })
    }
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Names of objects.
    List,
    /// Versions of objects.
    Versions,
    /// An object, or a range of it.
    Get,
    /// An object's length and the like.
    Head,
    /// An object is written.
    Put,
    /// An object is made of another.
    Copy,
    /// An object is deleted.
    Delete,
    /// A key is used or managed.
    Kms,
    /// Anything else: buckets, retention, ...
    Other,
}

impl Kind {
    fn of(request: &Request) -> Self {
        let query = request.query();
        let asks = |name: &str| query.iter().any(|(other, _)| other == name);
        let below_bucket = request.raw_path().trim_matches('/').contains('/');
        if request.headers.first("x-amz-target").is_some() {
            return Self::Kms;
        }
        let is_list =
            asks("list-type") || query.iter().any(|(name, value)| name == "comp" && value == "list");
        let subresources = [
            "retention",
            "legal-hold",
            "object-lock",
            "restore",
            "tagging",
            "acl",
            "comp",
            "restype",
            "uploads",
        ];
        let is_copy = ["x-amz-copy-source", "x-ms-copy-source", "x-goog-copy-source"]
            .iter()
            .any(|name| request.headers.first(name).is_some());
        match request.method.as_str() {
            "GET" if is_list || (!below_bucket && query.is_empty()) => Self::List,
            "GET" if asks("versions") => Self::Versions,
            _ if !below_bucket || subresources.iter().any(|name| asks(name)) => Self::Other,
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" if is_copy => Self::Copy,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// When a fault happens: to the requests that match, after some of them passed, some times.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    kind: Option<Kind>,
    part: Option<String>,
    skip: u32,
    times: u32,
}

impl Rule {
    /// To the next request, whatever it is.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { fault, kind: None, part: None, skip: 0, times: 1 }
    }

    /// Only to requests of that kind.
    #[must_use]
    pub fn on(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only where path and query, decoded, contain these words: `/packs/`.
    #[must_use]
    pub fn at(mut self, part: &str) -> Self {
        self.part = Some(part.to_owned());
        self
    }

    /// So many requests that match pass first.
    #[must_use]
    pub fn after(mut self, count: u32) -> Self {
        self.skip = count;
        self
    }

    /// It happens to so many.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.times = count;
        self
    }

    /// It never ends.
    #[must_use]
    pub fn forever(self) -> Self {
        self.times(u32::MAX)
    }

    /// Whether it happens now; counts.
    fn applies(&mut self, seen: &Seen) -> bool {
        let matching = self.kind.is_none_or(|kind| kind == seen.kind)
            && self.part.as_ref().is_none_or(|part| seen.text().contains(part))
            && (self.fault != Fault::StaleList || seen.kind == Kind::List);
        if !matching || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.times != u32::MAX {
            self.times -= 1;
        }
        true
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What it was about.
    pub kind: Kind,
    /// `GET`, `PUT`, ...
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// What happened to it.
    pub fault: Option<Fault>,
}

impl Seen {
    /// Path and query, decoded.
    #[must_use]
    pub fn text(&self) -> String {
        crate::http::percent_decoded(&self.target)
    }

    /// The part of a repository that it touched: `packs`, `journal`, ...; none for others.
    #[must_use]
    pub fn folder(&self) -> Option<&'static str> {
        let text = self.text();
        let mut parts = text.split(['/', '=', '&', '?']);
        parts.find_map(|part| FOLDERS.into_iter().find(|folder| *folder == part))
    }
}

const FOLDERS: [&str; 11] = [
    "config",
    "journal",
    "checkpoints",
    "keys",
    "packs",
    "meta",
    "parity",
    "index",
    "parts",
    "running",
    "wal",
];

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    random: Option<Random>,
    seen: Vec<Seen>,
    /// The first answer to each listing.
    lists: HashMap<String, Answer>,
}

#[derive(Debug, Clone)]
struct Random {
    seed: u64,
    percent: u64,
    faults: Vec<Fault>,
}

impl Random {
    /// What happens to the request of that number: the same for the same seed.
    fn fault(&self, number: u64) -> Option<Fault> {
        let drawn = mixed(self.seed ^ mixed(number));
        let which = usize::try_from(mixed(drawn) % u64::try_from(self.faults.len()).ok()?).ok()?;
        (drawn % 100 < self.percent).then(|| self.faults.get(which).copied()).flatten()
    }
}

/// The finalizer of SplitMix64.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// In front of a server of S3's, Azure's or Google's interface; without rules it only counts.
#[derive(Debug)]
pub struct FaultProxy {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl FaultProxy {
    /// In front of `upstream`.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let of_server = Arc::clone(&state);
        let server = Server::start(Some(upstream), move |exchange| handle(exchange, &of_server));
        Ok(Self { server: server.context("no port for a proxy")?, state })
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Adds a rule. Of several that apply to a request the first added counts; the others do not count it.
    pub fn add(&self, rule: Rule) {
        locked(&self.state).rules.push(rule);
    }

    /// So many percent of the requests that no rule applies to meet one of the faults.
    pub fn fail_randomly(&self, seed: u64, percent: u8, faults: &[Fault]) {
        let random = Random { seed, percent: percent.into(), faults: faults.to_vec() };
        locked(&self.state).random = Some(random);
    }

    /// From now on nothing goes wrong.
    pub fn heal(&self) {
        let mut state = locked(&self.state);
        state.rules.clear();
        state.random = None;
    }

    /// What came since the start, or since [`FaultProxy::forget`], in the order in which it came.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        locked(&self.state).seen.clone()
    }

    /// How many requests of each kind came.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts = BTreeMap::new();
        for seen in &locked(&self.state).seen {
            *counts.entry(seen.kind).or_default() += 1;
        }
        counts
    }

    /// How many requests of that kind came.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        locked(&self.state).seen.iter().filter(|seen| seen.kind == kind).count()
    }

    /// How many requests met a fault.
    #[must_use]
    pub fn faults(&self) -> usize {
        locked(&self.state).seen.iter().filter(|seen| seen.fault.is_some()).count()
    }

    /// Counts from zero again.
    pub fn forget(&self) {
        locked(&self.state).seen.clear();
    }
}

fn handle(exchange: &mut Exchange<'_>, state: &Mutex<State>) -> io::Result<Next> {
    let kind = Kind::of(&exchange.request);
    let fault = decide(exchange, kind, &mut locked(state))?;
    let target = exchange.request.target.clone();
    let Some(fault) = fault else {
        if kind != Kind::List {
            return exchange.forward();
        }
        let answer = exchange.fetch()?;
        locked(state).lists.entry(target).or_insert_with(|| answer.clone());
        return exchange.answer(&answer);
    };
    if let Some(refusal) = refusal(fault, kind) {
        return exchange.answer(&refusal);
    }
    if fault == Fault::CutBefore {
        return Ok(Next::Reset);
    }
    if fault == Fault::StaleList {
        let old = locked(state).lists.get(&target).cloned();
        let answer = old.map_or_else(|| exchange.fetch(), Ok)?;
        return exchange.answer(&answer);
    }
    let mut answer = exchange.fetch()?;
    let half = answer.body.len() / 2;
    let next = if fault == Fault::CutInBody { Next::Reset } else { Next::Close };
    match fault {
        Fault::AnswerLost => {}
        Fault::HalfBody => {
            answer.body.truncate(half);
            return exchange.answer(&answer);
        }
        _ if answer.body.is_empty() => exchange.answer_with_half_a_head(&answer)?,
        _ => exchange.answer_in_part(&answer, half)?,
    }
    Ok(next)
}

fn decide(exchange: &Exchange<'_>, kind: Kind, state: &mut State) -> io::Result<Option<Fault>> {
    let number = u64::try_from(state.seen.len()).map_err(io::Error::other)?;
    let request = &exchange.request;
    let mut seen = Seen { kind, method: request.method.clone(), target: request.target.clone(), fault: None };
    let scripted = state.rules.iter_mut().find_map(|rule| rule.applies(&seen).then_some(rule.fault));
    seen.fault = scripted.or_else(|| state.random.as_ref()?.fault(number));
    let fault = seen.fault;
    state.seen.push(seen);
    Ok(fault)
}

fn refusal(fault: Fault, kind: Kind) -> Option<Answer> {
    let (status, code, message) = fault.refusal()?;
    if kind == Kind::Kms {
        let body =
            serde_json::json!({ "__type": format!("{code}Exception"), "message": message }).to_string();
        let status = if status == 403 { 400 } else { status };
        let head = Response::new(status).with("Content-Type", "application/x-amz-json-1.1");
        return Some(Answer { head, body: body.into_bytes() });
    }
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message>\
         <RequestId>fault</RequestId><HostId>proxy</HostId></Error>",
        xml_escaped(message)
    );
    Some(Answer {
        head: Response::new(status).with("Content-Type", "application/xml"),
        body: body.into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::send;

    /// A store of one object: PUT counts, GET gives the count and much more, a listing says the count.
    fn store() -> (Server, Arc<Mutex<u32>>) {
        let puts = Arc::new(Mutex::new(0));
        let of_server = Arc::clone(&puts);
        let server = Server::start(None, move |exchange| {
            let kind = Kind::of(&exchange.request);
            if kind == Kind::Put {
                *locked(&of_server) += 1;
            }
            let count = *locked(&of_server);
            let body = match kind {
                Kind::Get => format!("{count:01000}"),
                Kind::List => format!("<Key>{count}</Key>"),
                _ => String::new(),
            };
            exchange.answer(&Answer { head: Response::new(200), body: body.into_bytes() })
        });
        (server.unwrap(), puts)
    }

    fn ask(proxy: &FaultProxy, method: &str, target: &str) -> io::Result<Answer> {
        send(proxy.address(), &Request::new(method, target), b"")
    }

    #[test]
    fn requests_are_told_apart() {
        let kind = |method: &str, target: &str| Kind::of(&Request::new(method, target));
        assert_eq!(kind("GET", "/b?list-type=2&prefix=p"), Kind::List);
        assert_eq!(kind("GET", "/account/c?restype=container&comp=list"), Kind::List);
        assert_eq!(kind("GET", "/b?versions&prefix=p"), Kind::Versions);
        assert_eq!(kind("GET", "/b/p/config"), Kind::Get);
        assert_eq!(kind("GET", "/b/p/packs/x?versionId=1"), Kind::Get);
        assert_eq!(kind("HEAD", "/b/p/config"), Kind::Head);
        assert_eq!(kind("HEAD", "/b"), Kind::Other);
        assert_eq!(kind("PUT", "/b"), Kind::Other);
        assert_eq!(kind("PUT", "/b/k?retention"), Kind::Other);
        assert_eq!(kind("PUT", "/b/k"), Kind::Put);
        assert_eq!(kind("DELETE", "/b/k"), Kind::Delete);
        assert_eq!(Kind::of(&Request::new("PUT", "/b/k").with("x-amz-copy-source", "b/k")), Kind::Copy);
        assert_eq!(
            Kind::of(&Request::new("POST", "/").with("X-Amz-Target", "TrentService.Decrypt")),
            Kind::Kms
        );
        let seen = |target: &str| {
            Seen { kind: Kind::Get, method: "GET".into(), target: target.into(), fault: None }.folder()
        };
        assert_eq!(seen("/b/p/packs/ab/x"), Some("packs"));
        assert_eq!(seen("/b?list-type=2&prefix=p%2Findex%2F"), Some("index"));
        assert_eq!(seen("/b/p/other"), None);
    }

    #[test]
    fn refusals_are_answers_that_change_nothing() {
        let (store, puts) = store();
        let proxy = FaultProxy::start(store.address()).unwrap();
        proxy.add(Rule::new(Fault::SlowDown).on(Kind::Put).after(1).times(2));
        let status = || ask(&proxy, "PUT", "/b/k").unwrap().head.status;
        assert_eq!([status(), status(), status(), status()], [200, 503, 503, 200]);
        assert_eq!(*locked(&puts), 2);
        assert_eq!((proxy.count(Kind::Put), proxy.faults()), (4, 2));
        for (fault, status, code) in [
            (Fault::InternalError, 500, "InternalError"),
            (Fault::ExpiredToken, 400, "ExpiredToken"),
            (Fault::RequestTimeTooSkewed, 403, "RequestTimeTooSkewed"),
            (Fault::AccessDenied, 403, "AccessDenied"),
        ] {
            proxy.add(Rule::new(fault).at("/b/odd"));
            assert_eq!(ask(&proxy, "GET", "/b/k").unwrap().head.status, 200);
            let answer = ask(&proxy, "GET", "/b/odd").unwrap();
            assert_eq!((answer.head.status, answer.xml("Code").as_deref()), (status, Some(code)));
        }
        proxy.add(Rule::new(Fault::ExpiredToken).after(1).forever());
        assert_eq!(ask(&proxy, "GET", "/b/k").unwrap().head.status, 200);
        assert!((0..3).all(|_| ask(&proxy, "GET", "/b/k").unwrap().head.status == 400));
        proxy.heal();
        assert_eq!(ask(&proxy, "GET", "/b/k").unwrap().head.status, 200);
    }

    #[test]
    fn cut_connections_are_errors() {
        let (store, puts) = store();
        let proxy = FaultProxy::start(store.address()).unwrap();
        for fault in [Fault::CutBefore, Fault::CutInBody, Fault::ShortBody, Fault::AnswerLost] {
            for target in ["/b/k", "/b/l"] {
                proxy.add(Rule::new(fault));
                assert!(ask(&proxy, "GET", target).is_err(), "{fault:?}");
                assert!(ask(&proxy, "GET", target).is_ok());
            }
            let before = *locked(&puts);
            proxy.add(Rule::new(fault));
            assert!(ask(&proxy, "PUT", "/b/k").is_err(), "{fault:?}");
            // All but the first were done, and nobody said so.
            assert_eq!(*locked(&puts) - before, u32::from(fault != Fault::CutBefore));
        }
        proxy.add(Rule::new(Fault::HalfBody));
        assert_eq!(ask(&proxy, "GET", "/b/k").unwrap().body.len(), 500);
    }

    #[test]
    fn a_stale_list_is_an_old_one() {
        let (store, _) = store();
        let proxy = FaultProxy::start(store.address()).unwrap();
        let list = || ask(&proxy, "GET", "/b?list-type=2").unwrap().xml("Key").unwrap();
        assert_eq!(list(), "0");
        ask(&proxy, "PUT", "/b/k").unwrap();
        assert_eq!(list(), "1");
        proxy.add(Rule::new(Fault::StaleList));
        // It waits for a listing.
        assert!(ask(&proxy, "GET", "/b/k").is_ok());
        assert_eq!([list(), list()], ["0", "1"]);
    }

    #[test]
    fn a_seed_fails_the_same_requests_again() {
        let (store, _) = store();
        let drawn = |seed| {
            let proxy = FaultProxy::start(store.address()).unwrap();
            proxy.fail_randomly(seed, 30, &Fault::PASSING);
            for _ in 0..200 {
                let _answered = ask(&proxy, "GET", "/b/k");
            }
            proxy.seen().into_iter().map(|seen| seen.fault).collect::<Vec<_>>()
        };
        let (first, again, other) = (drawn(1), drawn(1), drawn(2));
        assert_eq!(first, again);
        assert_ne!(first, other);
        let failed = first.iter().flatten().count();
        assert!((40..80).contains(&failed), "{failed} of 200");
        assert!(Fault::PASSING.iter().all(|fault| first.contains(&Some(*fault))));
    }

    #[test]
    fn keys_fail_in_their_own_dialect() {
        let (store, _) = store();
        let proxy = FaultProxy::start(store.address()).unwrap();
        proxy.add(Rule::new(Fault::ExpiredToken).on(Kind::Kms));
        let request = Request::new("POST", "/").with("X-Amz-Target", "TrentService.Decrypt");
        let answer = send(proxy.address(), &request, b"{}").unwrap();
        assert_eq!((answer.head.status, answer.text().contains("ExpiredTokenException")), (400, true));
    }
}
