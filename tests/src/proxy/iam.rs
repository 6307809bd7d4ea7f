//! AWS IAM in front of an S3 and a KMS that let everybody do everything.
//!
//! The access key of a request's signature says which role sends it; the role's policies and the bucket's say whether
//! it may. Signatures are not verified: whoever has an access key has its secret as well, in tests. Where AWS's
//! services would refuse, the proxy does, in their words; what is allowed passes through.
//!
//! It is stricter than AWS in two things: a request that it does not know is refused, and so is a deletion of many
//! objects of which one may not be deleted.

mod kms;
pub mod policy;
pub mod roles;
mod s3;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};

pub use self::kms::KmsFault;
use self::policy::{Access, Context, Policy, Verdict, decide};
use self::roles::role_arn;
use self::s3::Need;
use super::locked;
use crate::http::Answer;
use crate::http::message::Request;
use crate::http::server::{Exchange, Next, Server};

/// One right that somebody asked for.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Who asked; empty when nobody is known by that access key.
    pub role: String,
    /// `s3:PutObject`, `kms:Decrypt`, ...
    pub action: String,
    /// The ARN of a bucket, an object or a key.
    pub resource: String,
    /// The condition keys of the request, in lower case.
    pub context: Context,
    /// What was said.
    pub verdict: Verdict,
}

impl Decision {
    /// Whether it was allowed.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.verdict == Verdict::Allowed
    }

    /// The first value of a key of the encryption context: `sr:purpose`.
    #[must_use]
    pub fn encryption_context(&self, key: &str) -> Option<&str> {
        let values = self.context.get(&format!("kms:encryptioncontext:{}", key.to_lowercase()))?;
        values.first().map(String::as_str)
    }
}

/// In front of an S3 and a KMS, which may be the same server.
#[derive(Debug)]
pub struct IamProxy {
    s3: Server,
    kms: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By access key: the role's name and what it may.
    callers: HashMap<String, (String, Vec<Policy>)>,
    buckets: HashMap<String, Vec<Policy>>,
    insecure: bool,
    fault: Option<(KmsFault, u32)>,
    decisions: Vec<Decision>,
}

impl IamProxy {
    /// In front of the S3 at one address and the KMS at another. Nobody may do anything yet.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(s3: SocketAddr, kms: SocketAddr) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let (of_s3, of_kms) = (Arc::clone(&state), Arc::clone(&state));
        let s3 = Server::start(Some(s3), move |exchange| handle_s3(exchange, &of_s3));
        let kms = Server::start(Some(kms), move |exchange| handle_kms(exchange, &of_kms, kms));
        Ok(Self { s3: s3.context("no port for a proxy")?, kms: kms.context("no port for a proxy")?, state })
    }

    /// `http://127.0.0.1:PORT`, of S3.
    #[must_use]
    pub fn s3_endpoint(&self) -> String {
        self.s3.endpoint()
    }

    /// `http://127.0.0.1:PORT`, of KMS.
    #[must_use]
    pub fn kms_endpoint(&self) -> String {
        self.kms.endpoint()
    }

    /// Where S3 listens.
    #[must_use]
    pub fn s3_address(&self) -> SocketAddr {
        self.s3.address()
    }

    /// Where KMS listens.
    #[must_use]
    pub fn kms_address(&self) -> SocketAddr {
        self.kms.address()
    }

    /// Whoever signs with this access key is that role and may do what the policies say, and nothing else.
    pub fn grant(&self, access_key: &str, role: &str, policies: Vec<Policy>) {
        locked(&self.state).callers.insert(access_key.to_owned(), (role.to_owned(), policies));
    }

    /// Replaces the policy of a bucket.
    pub fn set_bucket_policy(&self, bucket: &str, policy: Policy) {
        locked(&self.state).buckets.insert(bucket.to_owned(), vec![policy]);
    }

    /// Whether requests from now on came without TLS (`aws:SecureTransport`); at first they are taken to have it.
    pub fn set_insecure(&self, insecure: bool) {
        locked(&self.state).insecure = insecure;
    }

    /// So many requests of KMS that would be allowed fail instead; `u32::MAX` for all.
    pub fn fail_kms(&self, fault: KmsFault, times: u32) {
        locked(&self.state).fault = Some((fault, times));
    }

    /// KMS works again.
    pub fn heal_kms(&self) {
        locked(&self.state).fault = None;
    }

    /// KMS is down: nobody listens there.
    pub fn stop_kms(&self) {
        self.kms.stop();
    }

    /// KMS is up again.
    ///
    /// # Errors
    /// When somebody else has its port now.
    pub fn resume_kms(&self) -> Result<()> {
        self.kms.resume().context("the port of KMS is taken")
    }

    /// All decisions since the start, or since [`IamProxy::forget`].
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        locked(&self.state).decisions.clone()
    }

    /// Forgets the decisions.
    pub fn forget(&self) {
        locked(&self.state).decisions.clear();
    }
}

impl State {
    /// Looks for each right; the refusal for the first that is missing.
    fn check(&mut self, request: &Request, bucket: Option<&str>, needs: Vec<Need>) -> Result<(), String> {
        let key = access_key(request).unwrap_or_default();
        let nobody = (String::new(), Vec::new());
        let (role, policies) = self.callers.get(&key).unwrap_or(&nobody).clone();
        let of_bucket = bucket.and_then(|bucket| self.buckets.get(bucket)).map_or(&[][..], Vec::as_slice);
        let principal = role_arn(&role);
        for need in needs {
            let Need { action, resource, mut context } = need;
            context.insert("aws:principalarn".to_owned(), vec![principal.clone()]);
            context.insert("aws:securetransport".to_owned(), vec![(!self.insecure).to_string()]);
            let access =
                Access { principal: &principal, action: &action, resource: &resource, context: &context };
            let verdict =
                if role.is_empty() { Verdict::NotAllowed } else { decide(&policies, of_bucket, &access) };
            let why = match &verdict {
                Verdict::Allowed => None,
                Verdict::NotAllowed => {
                    Some(format!("because no identity-based policy allows the {action} action"))
                }
                Verdict::Denied(_) => Some("with an explicit deny in a resource-based policy".to_owned()),
            };
            let refusal = why.map(|why| {
                let user = principal.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/");
                format!(
                    "User: {user}/test is not authorized to perform: {action} on resource: {resource} {why}"
                )
            });
            self.decisions.push(Decision { role: role.clone(), action, resource, context, verdict });
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
        }
        Ok(())
    }

    fn take_fault(&mut self) -> Option<KmsFault> {
        let (fault, times) = self.fault.as_mut().filter(|(_, times)| *times > 0)?;
        if *times != u32::MAX {
            *times -= 1;
        }
        Some(*fault)
    }
}

fn handle_s3(exchange: &mut Exchange<'_>, state: &Mutex<State>) -> io::Result<Next> {
    let body = if s3::needs_body(&exchange.request) { exchange.body()?.to_vec() } else { Vec::new() };
    let (bucket, key) = s3::place(&exchange.request);
    let needs = s3::needs(&exchange.request, &body);
    let checked = locked(state).check(&exchange.request, Some(&bucket), needs);
    if let Err(refusal) = checked {
        return exchange.answer(&s3::refusal(&refusal));
    }
    // S3 knows no other condition than that nothing is there; a server that does would take it for a way around.
    let condition = exchange.request.headers.first("if-none-match");
    if exchange.request.method == "PUT" && condition.is_some_and(|condition| condition.trim() != "*") {
        return exchange.answer(&s3::not_implemented());
    }
    let may_be_missing = !key.is_empty() && ["GET", "HEAD"].contains(&exchange.request.method.as_str());
    if !may_be_missing {
        return exchange.forward();
    }
    // Who may not list a bucket is not told either that something is not in it.
    let request = exchange.request.clone();
    exchange.forward_unless(|head| {
        let need = vec![s3::need_to_miss(&request)];
        let missing = head.status == 404;
        let refused = missing.then(|| locked(state).check(&request, Some(&bucket), need).err()).flatten();
        refused.map(|refusal| s3::refusal(&refusal))
    })
}

fn handle_kms(exchange: &mut Exchange<'_>, state: &Mutex<State>, server: SocketAddr) -> io::Result<Next> {
    let body = exchange.body()?.to_vec();
    let Some(operation) = kms::operation(&exchange.request).map(str::to_owned) else {
        return exchange.answer(&kms::refusal("no request of KMS"));
    };
    let answer: Option<Answer> = match kms::needs(&operation, &body, server) {
        // There is no such key: the server says it best.
        Err(_) => None,
        Ok(needs) => {
            let key = needs.first().map(|need| need.resource.clone()).unwrap_or_default();
            let mut state = locked(state);
            match state.check(&exchange.request, None, needs) {
                Err(refusal) => Some(kms::refusal(&refusal)),
                Ok(()) => state.take_fault().map(|fault| fault.answer(&key)),
            }
        }
    };
    match answer {
        Some(answer) => exchange.answer(&answer),
        None => exchange.forward(),
    }
}

/// `AWS4-HMAC-SHA256 Credential=ACCESS_KEY/DAY/REGION/SERVICE/aws4_request, ...`
fn access_key(request: &Request) -> Option<String> {
    let (_, rest) = request.headers.first("authorization")?.split_once("Credential=")?;
    Some(rest.split_once('/')?.0.to_owned())
}

#[cfg(test)]
mod tests;
