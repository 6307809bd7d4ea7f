//! One request, one answer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use maud::Markup;
use strongroom_engines::http::percent_decoded;

use super::Server;
use super::form::{cookie, field};
use crate::access::{Guess, SESSION};
use crate::page::{self, NotFound, Shown};

/// The cookie of a session.
const SESSION_COOKIE: &str = "strongroom_session";
/// What a form may have, bytes, and how long it may take to come.
const FORM_BYTES: usize = 4096;
const FORM_TIME: Duration = Duration::from_secs(10);
/// Nothing but what comes from here, and no script at all.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

type Answer = Response<Full<Bytes>>;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// One that the given authority signed.
    pub(super) has_certificate: bool,
    pub(super) is_tls: bool,
}

/// Who it is, as far as that was told.
#[derive(Debug, PartialEq, Eq)]
enum Caller {
    /// May look; and may log out, when it has a session.
    Known {
        session: Option<String>,
    },
    /// Said nothing.
    Unknown,
    Wrong,
    TooMany(Duration),
}

/// Whatever goes wrong is an answer, too.
pub(super) async fn answer(server: &Server, peer: Peer, request: Request<Incoming>) -> Answer {
    let mut answer = route(server, peer, request).await;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

async fn route(server: &Server, peer: Peer, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let is_post = *request.method() == Method::POST;
    let takes_posts = matches!(path.as_str(), "/login" | "/logout");
    let is_allowed = match *request.method() {
        Method::GET | Method::HEAD => true,
        Method::POST => takes_posts,
        _ => false,
    };
    if !is_allowed {
        let allowed = if takes_posts { "GET, HEAD, POST" } else { "GET, HEAD" };
        let mut refused = failure(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        return refused;
    }
    match path.as_str() {
        "/healthz" => return healthz(server),
        "/readyz" => return readyz(server),
        "/style.css" => return asset("text/css; charset=utf-8", page::STYLE),
        "/icon.svg" => return asset("image/svg+xml", page::ICON),
        _ => {}
    }
    let access = server.gate().access();
    if access.is_open() && !is_of_this_host(&request) {
        // A page of somebody else's, under a name of theirs that leads here.
        return failure(StatusCode::MISDIRECTED_REQUEST, "This is another host");
    }
    if path == "/login" {
        return if is_post {
            login(server, peer, request).await
        } else {
            html(StatusCode::OK, &page::login(None))
        };
    }
    let caller = caller(server, peer, &request);
    if path == "/metrics" && !access.metrics {
        return metrics(server);
    }
    let session = match caller {
        Caller::Known { session } => session,
        Caller::TooMany(wait) => return too_many(wait),
        Caller::Wrong => return unauthorized("This token is wrong"),
        Caller::Unknown if access.token.is_none() => {
            return failure(StatusCode::FORBIDDEN, "A certificate is needed");
        }
        Caller::Unknown if wants_page(&request) => return to("/login"),
        Caller::Unknown => return unauthorized("A token is needed"),
    };
    match (path.as_str(), is_post) {
        ("/metrics", _) => metrics(server),
        ("/logout", true) => logout(server, session.as_deref()),
        _ => shown(server, &path, request.uri().query().unwrap_or_default(), session.is_some()),
    }
}

fn shown(server: &Server, path: &str, query: &str, session: bool) -> Answer {
    let (view, _, reading) = server.known();
    let now = (server.options.clock)();
    let shown = Shown { view: view.as_deref(), reading: &reading, now, session };
    let parts: Vec<&str> = path.split('/').collect();
    let number = field(query, "page").map_or(Some(1), |page| page.parse().ok());
    let page = match parts[..] {
        ["", ""] => Ok(page::overview(shown)),
        ["", "sources", name] => match (percent_decoded(name), number) {
            (Some(name), Some(number)) => page::source(shown, &name, number),
            _ => Err(NotFound),
        },
        ["", "snapshots", id] => page::snapshot(shown, id),
        _ => Err(NotFound),
    };
    match page {
        Ok(page) => html(StatusCode::OK, &page),
        Err(NotFound) => failure(StatusCode::NOT_FOUND, "There is no such page"),
    }
}

/// By a certificate, a token in the head of the request, or a session.
fn caller(server: &Server, peer: Peer, request: &Request<Incoming>) -> Caller {
    let text = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let mut gate = server.gate();
    let access = gate.access();
    if access.is_open() || (access.certificates && peer.has_certificate) {
        return Caller::Known { session: None };
    }
    let now = Instant::now();
    let session = text(header::COOKIE).and_then(|cookies| cookie(cookies, SESSION_COOKIE));
    if let Some(session) = session.filter(|session| gate.is_session(session, now)) {
        return Caller::Known { session: Some(session.to_owned()) };
    }
    let Some(authorization) = text(header::AUTHORIZATION) else { return Caller::Unknown };
    let guess = authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let guess = guess.map_or(authorization, |(_, token)| token.trim());
    let judged = gate.guess(guess, peer.address, now);
    drop(gate);
    match judged {
        Guess::Right => Caller::Known { session: None },
        Guess::Wrong => {
            tell_wrong(server, peer);
            Caller::Wrong
        }
        Guess::TooMany(wait) => Caller::TooMany(wait),
    }
}

fn tell_wrong(server: &Server, peer: Peer) {
    (server.options.say)(&format!("{} was refused: a wrong token", peer.address));
}

async fn login(server: &Server, peer: Peer, request: Request<Incoming>) -> Answer {
    if server.gate().access().token.is_none() {
        return to("/");
    }
    let body = Limited::new(request.into_body(), FORM_BYTES).collect();
    let form = match tokio::time::timeout(FORM_TIME, body).await {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Ok(Err(_)) => return failure(StatusCode::PAYLOAD_TOO_LARGE, "That is no token"),
        Err(_) => return failure(StatusCode::REQUEST_TIMEOUT, "That took too long"),
    };
    let now = Instant::now();
    let guess = field(&form, "token").unwrap_or_default();
    let judged = server.gate().guess(guess.trim(), peer.address, now);
    match judged {
        Guess::TooMany(wait) => too_many(wait),
        Guess::Wrong => {
            tell_wrong(server, peer);
            html(StatusCode::UNAUTHORIZED, &page::login(Some("This token is wrong.")))
        }
        Guess::Right => {
            let mut secret = [0; 32];
            if let Err(error) = (server.options.random)(&mut secret) {
                (server.options.say)(&format!("nobody can log in: {error}"));
                return failure(StatusCode::INTERNAL_SERVER_ERROR, "No session can be begun");
            }
            let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            server.gate().begin(&secret, now);
            with_cookie(to("/"), &secret, SESSION, peer.is_tls)
        }
    }
}

fn logout(server: &Server, session: Option<&str>) -> Answer {
    if let Some(session) = session {
        server.gate().end(session);
    }
    with_cookie(to("/login"), "", Duration::ZERO, false)
}

fn with_cookie(mut answer: Answer, value: &str, lasts: Duration, is_tls: bool) -> Answer {
    let secure = if is_tls { "; Secure" } else { "" };
    let lasts = lasts.as_secs();
    let cookie =
        format!("{SESSION_COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lasts}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

/// Whether it is asked for by a name of this host's own loopback.
fn is_of_this_host(request: &Request<Incoming>) -> bool {
    let Some(host) = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn wants_page(request: &Request<Incoming>) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Whether this process lives: its scheduler moves. The store may be away.
fn healthz(server: &Server) -> Answer {
    match server.stood_still() {
        (None, _) => text(StatusCode::OK, "ok\n".into()),
        (Some(still), _) => {
            let why = format!("the scheduler has not moved for {} s\n", still.as_secs());
            text(StatusCode::SERVICE_UNAVAILABLE, why)
        }
    }
}

/// Whether the repository was read lately.
fn readyz(server: &Server) -> Answer {
    let (view, _, reading) = server.known();
    match (view, reading.error) {
        (Some(_), None) => text(StatusCode::OK, "ok\n".into()),
        (None, None) => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the repository has not been read yet\n".into())
        }
        (_, Some(error)) => {
            text(StatusCode::SERVICE_UNAVAILABLE, format!("the repository cannot be read: {error}\n"))
        }
    }
}

fn metrics(server: &Server) -> Answer {
    let (view, metrics, reading) = server.known();
    // What is old is said to be.
    let known = match (&view, reading.error.is_some()) {
        (Some(view), true) => strongroom_ops::metrics::last_known(&view.status, &view.bucket),
        _ => metrics.to_string(),
    };
    let (_, running) = server.stood_still();
    let page = format!(
        "{known}# HELP strongroom_serve_running Runs that this server has begun and that have not ended.\n# TYPE strongroom_serve_running gauge\nstrongroom_serve_running {running}\n"
    );
    let mut answer = text(StatusCode::OK, page);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn asset(kind: &'static str, content: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(content.as_bytes())));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // They change with the program, which may be replaced at any time.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    answer
}

fn html(status: StatusCode, page: &Markup) -> Answer {
    let mut answer = text(status, page.0.clone());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    answer
}

fn text(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn failure(status: StatusCode, what: &str) -> Answer {
    html(status, &page::failure(status.as_u16(), what))
}

fn unauthorized(what: &str) -> Answer {
    let mut answer = failure(StatusCode::UNAUTHORIZED, what);
    answer
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"strongroom\""));
    answer
}

fn too_many(wait: Duration) -> Answer {
    let mut answer = failure(StatusCode::TOO_MANY_REQUESTS, "Too many wrong tokens: wait a minute");
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    answer
}

fn to(place: &'static str) -> Answer {
    let mut answer = text(StatusCode::SEE_OTHER, String::new());
    answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static(place));
    answer
}
