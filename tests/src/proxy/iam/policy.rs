//! IAM policy documents, and what they say of an access: as much of the language as `deploy/iam/` uses
//! ("IAM JSON policy elements reference" and "Policy evaluation logic" of AWS's documentation).
//!
//! What is not understood is refused when the document is read: a condition that is skipped would make a policy look
//! stricter than it is, or looser.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};

/// What is known of a request beside its action and resource: condition keys, in lower case, and their values. A key
/// that is not in the request is not here.
pub type Context = BTreeMap<String, Vec<String>>;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// `arn:aws:iam::ACCOUNT:role/NAME`
    pub principal: &'a str,
    /// `s3:PutObject`
    pub action: &'a str,
    /// An ARN.
    pub resource: &'a str,
    /// The rest.
    pub context: &'a Context,
}

/// The outcome for an access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows it, and none denies it.
    Allowed,
    /// No statement allows it.
    NotAllowed,
    /// The statement of that name denies it, whatever others allow.
    Denied(String),
}

/// A policy document.
#[derive(Debug, Clone)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
struct Statement {
    name: String,
    allows: bool,
    /// None in a policy of an identity: it is about whom it is attached to.
    principals: Option<Vec<String>>,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone)]
struct Condition {
    operator: Operator,
    negated: bool,
    if_exists: bool,
    quantifier: Quantifier,
    /// In lower case.
    key: String,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equals,
    EqualsIgnoreCase,
    Like,
    Bool,
    Null,
    LessThan,
    LessThanEquals,
    GreaterThan,
    GreaterThanEquals,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    One,
    ForAllValues,
    ForAnyValue,
}

/// The condition keys that the proxy can tell of a request, in lower case; a `*` ends a family.
const KNOWN_KEYS: [&str; 11] = [
    "aws:principalarn",
    "aws:securetransport",
    "kms:encryptioncontext:*",
    "kms:encryptioncontextkeys",
    "kms:viaservice",
    "s3:if-none-match",
    "s3:object-lock-mode",
    "s3:object-lock-remaining-retention-days",
    "s3:objectcreationoperation",
    "s3:prefix",
    "s3:x-amz-copy-source",
];

impl Policy {
    /// A policy that is attached to a role.
    ///
    /// # Errors
    /// When it is no policy, names a principal, or has what is not understood here.
    pub fn of_identity(json: &str) -> Result<Self> {
        let policy = Self::parse(json)?;
        let about_others = policy.statements.iter().any(|statement| statement.principals.is_some());
        ensure!(!about_others, "a policy of a role has no Principal");
        Ok(policy)
    }

    /// A policy that is attached to a bucket.
    ///
    /// # Errors
    /// When it is no policy, does not say for whom it is, or has what is not understood here.
    pub fn of_resource(json: &str) -> Result<Self> {
        let policy = Self::parse(json)?;
        let about_nobody = policy.statements.iter().any(|statement| statement.principals.is_none());
        ensure!(!about_nobody, "a policy of a resource has a Principal");
        Ok(policy)
    }

    /// A policy of an identity that may do everything.
    #[must_use]
    pub fn everything() -> Self {
        let all = || vec!["*".to_owned()];
        let statement = Statement {
            name: "Everything".to_owned(),
            allows: true,
            principals: None,
            actions: all(),
            resources: all(),
            conditions: Vec::new(),
        };
        Self { statements: vec![statement] }
    }

    fn parse(json: &str) -> Result<Self> {
        let document: Value = serde_json::from_str(json).context("a policy that is no JSON")?;
        let document = document.as_object().context("a policy that is no object")?;
        only(document, &["Version", "Id", "Statement"])?;
        ensure!(
            document.get("Version").and_then(Value::as_str) == Some("2012-10-17"),
            "not Version 2012-10-17"
        );
        let statements = document.get("Statement").and_then(Value::as_array).context("no Statements")?;
        let statements = statements.iter().map(Statement::parse).collect::<Result<_>>()?;
        Ok(Self { statements })
    }
}

impl Statement {
    fn parse(value: &Value) -> Result<Self> {
        let fields = value.as_object().context("a statement that is no object")?;
        only(fields, &["Sid", "Effect", "Principal", "Action", "Resource", "Condition"])?;
        let name = fields.get("Sid").and_then(Value::as_str).context("a statement without a Sid")?.to_owned();
        // IAM takes nothing else.
        ensure!(
            name.chars().all(|c| c.is_ascii_alphanumeric()),
            "the Sid {name} has other than letters and digits"
        );
        Self::parse_fields(fields, &name).with_context(|| format!("statement {name}"))
    }

    fn parse_fields(fields: &Map<String, Value>, name: &str) -> Result<Self> {
        let allows = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => bail!("its Effect is neither Allow nor Deny"),
        };
        let principals = match fields.get("Principal") {
            None => None,
            Some(Value::String(all)) if all == "*" => Some(vec!["*".to_owned()]),
            Some(Value::Object(kinds)) => {
                only(kinds, &["AWS"])?;
                Some(texts(kinds.get("AWS")).context("Principal")?)
            }
            Some(_) => bail!("a Principal that is not understood"),
        };
        let mut conditions = Vec::new();
        if let Some(operators) = fields.get("Condition") {
            for (operator, keys) in operators.as_object().context("a Condition that is no object")? {
                for (key, values) in keys.as_object().context("an operator without keys")? {
                    conditions.push(Condition::parse(operator, key, values)?);
                }
            }
        }
        Ok(Self {
            name: name.to_owned(),
            allows,
            principals,
            actions: texts(fields.get("Action")).context("Action")?,
            resources: texts(fields.get("Resource")).context("Resource")?,
            conditions,
        })
    }

    fn is_about(&self, access: &Access<'_>) -> bool {
        let ignoring_case =
            |pattern: &String| matches(&pattern.to_lowercase(), &access.action.to_lowercase());
        let principal = |patterns: &Vec<String>| {
            // In a Principal a star is everybody or nothing.
            patterns.iter().any(|pattern| pattern == "*" || pattern == access.principal)
        };
        self.principals.as_ref().is_none_or(principal)
            && self.actions.iter().any(ignoring_case)
            && self.resources.iter().any(|pattern| matches(pattern, access.resource))
            && self.conditions.iter().all(|condition| condition.holds(access))
    }
}

impl Condition {
    fn parse(operator: &str, key: &str, values: &Value) -> Result<Self> {
        let (quantifier, rest) = match operator.split_once(':') {
            None => (Quantifier::One, operator),
            Some(("ForAllValues", rest)) => (Quantifier::ForAllValues, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::ForAnyValue, rest),
            Some(_) => bail!("the operator {operator} is not understood"),
        };
        let (rest, if_exists) = match rest.strip_suffix("IfExists") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (operator, negated) = match rest {
            "StringEquals" => (Operator::Equals, false),
            "StringNotEquals" => (Operator::Equals, true),
            "StringEqualsIgnoreCase" => (Operator::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Operator::EqualsIgnoreCase, true),
            "StringLike" | "ArnLike" | "ArnEquals" => (Operator::Like, false),
            "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => (Operator::Like, true),
            "Bool" => (Operator::Bool, false),
            "Null" if !if_exists && quantifier == Quantifier::One => (Operator::Null, false),
            "NumericLessThan" => (Operator::LessThan, false),
            "NumericLessThanEquals" => (Operator::LessThanEquals, false),
            "NumericGreaterThan" => (Operator::GreaterThan, false),
            "NumericGreaterThanEquals" => (Operator::GreaterThanEquals, false),
            _ => bail!("the operator {operator} is not understood"),
        };
        let key = key.to_lowercase();
        ensure!(
            KNOWN_KEYS.iter().any(|known| matches(known, &key)),
            "the condition key {key} is not understood"
        );
        Ok(Self { operator, negated, if_exists, quantifier, key, values: texts(Some(values))? })
    }

    fn holds(&self, access: &Access<'_>) -> bool {
        let found = access.context.get(&self.key).map(Vec::as_slice);
        if self.operator == Operator::Null {
            let wants_none = self.values.iter().any(|value| value == "true");
            return found.is_none() == wants_none;
        }
        let Some(found) = found else {
            // A key that is not there equals nothing; so it does differ from everything.
            return self.if_exists || self.negated || self.quantifier == Quantifier::ForAllValues;
        };
        let one = |value: &String| {
            self.values.iter().any(|wanted| self.operator.compare(value, wanted)) != self.negated
        };
        match self.quantifier {
            Quantifier::One | Quantifier::ForAnyValue => found.iter().any(one),
            Quantifier::ForAllValues => found.iter().all(one),
        }
    }
}

impl Operator {
    fn compare(self, value: &str, wanted: &str) -> bool {
        let numbers = || Some((value.parse::<f64>().ok()?, wanted.parse::<f64>().ok()?));
        let compared =
            |holds: fn(f64, f64) -> bool| numbers().is_some_and(|(value, wanted)| holds(value, wanted));
        match self {
            Self::Equals => value == wanted,
            Self::EqualsIgnoreCase | Self::Bool => value.eq_ignore_ascii_case(wanted),
            Self::Like => matches(wanted, value),
            Self::LessThan => compared(|value, wanted| value < wanted),
            Self::LessThanEquals => compared(|value, wanted| value <= wanted),
            Self::GreaterThan => compared(|value, wanted| value > wanted),
            Self::GreaterThanEquals => compared(|value, wanted| value >= wanted),
            Self::Null => false,
        }
    }
}

/// What the policies of a role and of a resource in the same account say together: a denial counts before an
/// allowance, and either may allow.
#[must_use]
pub fn decide(of_identity: &[Policy], of_resource: &[Policy], access: &Access<'_>) -> Verdict {
    let policies = of_identity.iter().chain(of_resource);
    let mut verdict = Verdict::NotAllowed;
    for statement in
        policies.flat_map(|policy| &policy.statements).filter(|statement| statement.is_about(access))
    {
        if !statement.allows {
            return Verdict::Denied(statement.name.clone());
        }
        verdict = Verdict::Allowed;
    }
    verdict
}

/// Whether a text is of a pattern with `*` (any run) and `?` (any character).
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut here) = (0, 0);
    // Where the last star is, and how far the text had come when it took nothing.
    let mut star: Option<(usize, usize)> = None;
    while here < text.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, here));
            at += 1;
        } else if pattern.get(at).is_some_and(|c| *c == '?' || *c == text[here]) {
            at += 1;
            here += 1;
        } else if let Some((position, taken)) = star {
            star = Some((position, taken + 1));
            at = position + 1;
            here = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

fn only(fields: &Map<String, Value>, known: &[&str]) -> Result<()> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => bail!("{unknown} is not understood"),
        None => Ok(()),
    }
}

/// A text, or a list of them.
fn texts(value: Option<&Value>) -> Result<Vec<String>> {
    let texts = match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(values)) => {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            values.iter().map(text).collect::<Option<_>>().context("a list of other than texts")?
        }
        _ => bail!("it is missing, or neither a text nor a list"),
    };
    ensure!(!texts.is_empty(), "it is empty");
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn context(pairs: &[(&str, &str)]) -> Context {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect()
    }

    fn policy(statements: &Value) -> String {
        json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
    }

    fn verdict(statements: &Value, action: &str, resource: &str, pairs: &[(&str, &str)]) -> Verdict {
        let policy = Policy::of_identity(&policy(statements)).unwrap();
        let access = Access { principal: "arn:role", action, resource, context: &context(pairs) };
        decide(&[policy], &[], &access)
    }

    fn holds(condition: &Value, pairs: &[(&str, &str)]) -> bool {
        let statement = json!([{ "Sid": "A", "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition }]);
        verdict(&statement, "s3:GetObject", "arn:x", pairs) == Verdict::Allowed
    }

    #[test]
    fn patterns_match() {
        for (pattern, text) in [
            ("*", ""),
            ("a*", "a"),
            ("a*c", "abcbc"),
            ("*b*", "abc"),
            ("a?c", "abc"),
            ("a", "a"),
            ("a**", "ab"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a*c", "ab"), ("a?", "a"), ("a", "ab"), ("*a", "ab"), ("?", "")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn nothing_is_allowed_that_no_statement_allows() {
        let allow = json!([{ "Sid": "A", "Effect": "Allow", "Action": ["s3:Get*", "S3:putobject"],
                             "Resource": "arn:aws:s3:::b/p/*" }]);
        assert_eq!(verdict(&allow, "s3:GetObject", "arn:aws:s3:::b/p/k", &[]), Verdict::Allowed);
        assert_eq!(verdict(&allow, "s3:PutObject", "arn:aws:s3:::b/p/k", &[]), Verdict::Allowed);
        assert_eq!(verdict(&allow, "s3:GetObject", "arn:aws:s3:::b/q/k", &[]), Verdict::NotAllowed);
        assert_eq!(verdict(&allow, "s3:DeleteObject", "arn:aws:s3:::b/p/k", &[]), Verdict::NotAllowed);
    }

    #[test]
    fn a_denial_counts_before_an_allowance() {
        let both = json!([
            { "Sid": "A", "Effect": "Allow", "Action": "s3:*", "Resource": "*" },
            { "Sid": "D", "Effect": "Deny", "Action": "s3:Delete*", "Resource": "*/journal/*" },
        ]);
        assert_eq!(verdict(&both, "s3:DeleteObject", "arn:b/packs/1", &[]), Verdict::Allowed);
        assert_eq!(verdict(&both, "s3:DeleteObject", "arn:b/journal/1", &[]), Verdict::Denied("D".into()));
    }

    #[test]
    fn a_policy_of_a_bucket_adds_to_that_of_a_role() {
        let statements = json!([
            { "Sid": "A", "Effect": "Allow", "Principal": { "AWS": "arn:friend" }, "Action": "s3:Get*", "Resource": "*" },
            { "Sid": "D", "Effect": "Deny", "Principal": "*", "Action": "s3:Put*", "Resource": "*" },
        ]);
        let bucket = [Policy::of_resource(&policy(&statements)).unwrap()];
        let role = [Policy::everything()];
        let decided = |of_identity: &[Policy], principal, action| {
            decide(
                of_identity,
                &bucket,
                &Access { principal, action, resource: "arn:b", context: &Context::new() },
            )
        };
        assert_eq!(decided(&role, "arn:x", "s3:PutObject"), Verdict::Denied("D".into()));
        assert_eq!(decided(&role, "arn:x", "s3:GetObject"), Verdict::Allowed);
        assert_eq!(decided(&[], "arn:friend", "s3:GetObject"), Verdict::Allowed);
        assert_eq!(decided(&[], "arn:x", "s3:GetObject"), Verdict::NotAllowed);
    }

    #[test]
    fn conditions_hold_as_documented() {
        let purpose = "kms:encryptioncontext:sr:purpose";
        let equals =
            json!({ "StringEquals": { "kms:EncryptionContext:sr:purpose": ["identity", "metadata"] } });
        assert!(holds(&equals, &[(purpose, "identity")]));
        assert!(!holds(&equals, &[(purpose, "Identity")]));
        assert!(!holds(&equals, &[]));
        let like = json!({ "StringLike": { "s3:prefix": "p/*" } });
        assert!(holds(&like, &[("s3:prefix", "p/")]));
        assert!(!holds(&like, &[("s3:prefix", "q/")]) && !holds(&like, &[]));
        let if_exists = json!({ "StringLikeIfExists": { "s3:prefix": "p/*" } });
        assert!(holds(&if_exists, &[]) && !holds(&if_exists, &[("s3:prefix", "q/")]));
        let differs = json!({ "ArnNotEquals": { "aws:PrincipalArn": "arn:a" } });
        assert!(holds(&differs, &[("aws:principalarn", "arn:b")]) && holds(&differs, &[]));
        assert!(!holds(&differs, &[("aws:principalarn", "arn:a")]));
        let none = json!({ "Null": { "s3:if-none-match": "true" } });
        assert!(holds(&none, &[]) && !holds(&none, &[("s3:if-none-match", "*")]));
        let some = json!({ "Null": { "s3:if-none-match": "false" } });
        assert!(!holds(&some, &[]) && holds(&some, &[("s3:if-none-match", "*")]));
        let insecure = json!({ "Bool": { "aws:SecureTransport": "false" } });
        assert!(holds(&insecure, &[("aws:securetransport", "false")]));
        assert!(!holds(&insecure, &[("aws:securetransport", "true")]));
        let days = json!({ "NumericGreaterThan": { "s3:object-lock-remaining-retention-days": "30" } });
        let key = "s3:object-lock-remaining-retention-days";
        assert!(holds(&days, &[(key, "31")]) && !holds(&days, &[(key, "30")]) && !holds(&days, &[]));
        // Several keys, and several operators, all hold or none does.
        let all = json!({ "StringEquals": { "s3:prefix": "a", "aws:PrincipalArn": "b" }, "Null": { "s3:if-none-match": "true" } });
        assert!(holds(&all, &[("s3:prefix", "a"), ("aws:principalarn", "b")]));
        assert!(!holds(&all, &[("s3:prefix", "a")]));
        assert!(!holds(&all, &[("s3:prefix", "a"), ("aws:principalarn", "b"), ("s3:if-none-match", "*")]));
    }

    #[test]
    fn many_values_are_quantified() {
        let keys = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            Context::from([("kms:encryptioncontextkeys".to_owned(), names)])
        };
        let holds = |operator: &str, context: &Context| {
            let statement = json!([{ "Sid": "A", "Effect": "Allow", "Action": "*", "Resource": "*",
                "Condition": { operator: { "kms:EncryptionContextKeys": ["a", "b"] } } }]);
            let policy = Policy::of_identity(&policy(&statement)).unwrap();
            let access = Access { principal: "", action: "kms:Decrypt", resource: "k", context };
            decide(&[policy], &[], &access) == Verdict::Allowed
        };
        assert!(holds("ForAllValues:StringEquals", &keys(&["a", "b"])));
        assert!(!holds("ForAllValues:StringEquals", &keys(&["a", "c"])));
        assert!(holds("ForAnyValue:StringEquals", &keys(&["a", "c"])));
        assert!(holds("ForAllValues:StringEquals", &Context::new()));
        assert!(!holds("ForAnyValue:StringEquals", &Context::new()));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let refused = |statement: Value, words: &str| {
            let error = format!("{:#}", Policy::of_identity(&policy(&json!([statement]))).unwrap_err());
            assert!(error.contains(words), "{error}");
        };
        let with = |name: &str, value: Value| {
            let mut statement = json!({ "Sid": "A", "Effect": "Allow", "Action": "*", "Resource": "*" });
            statement[name] = value;
            statement
        };
        refused(with("NotAction", json!("*")), "NotAction");
        refused(with("Effect", json!("Maybe")), "Effect");
        refused(with("Sid", json!("A B")), "Sid");
        refused(with("Action", json!([])), "Action");
        refused(with("Principal", json!("*")), "Principal");
        refused(with("Condition", json!({ "DateLessThan": { "s3:prefix": "x" } })), "DateLessThan");
        refused(with("Condition", json!({ "StringEquals": { "aws:SourceIp": "x" } })), "aws:sourceip");
        assert!(Policy::of_identity("{").is_err());
        assert!(Policy::of_identity("{\"Version\": \"2008-10-17\", \"Statement\": []}").is_err());
        let unaddressed = json!([{ "Sid": "A", "Effect": "Deny", "Action": "*", "Resource": "*" }]);
        assert!(Policy::of_resource(&policy(&unaddressed)).is_err());
    }
}
