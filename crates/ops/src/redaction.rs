//! Passwords in texts that somebody else wrote: an error that quotes a URL, a command of a configuration. The one place through which
//! all of them go before they are noted, sent or shown.

const HIDDEN: &str = "***";
/// Whatever name ends so is of a secret, written with or without `_` and `-`.
const SECRETS: [&str; 14] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "accesskey",
    "secretkey",
    "privatekey",
    "encryptionkey",
    "accountkey",
    "apikey",
    "credential",
    "credentials",
];
/// The same of names that other words end in too: alone, or behind `_` or `-`, and with a value that is plainly one.
const SHORT_SECRETS: [&str; 3] = ["auth", "pass", "sig"];
/// A header with several words.
const HEADER: &str = "authorization";
/// Options whose value is `USER:PASSWORD`.
const LOGINS: [&str; 3] = ["-u", "--user", "--proxy-user"];

/// What of a value is secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secret {
    Word,
    /// All up to the end of the line, or of what is quoted.
    Line,
    /// What stands behind its colon.
    BehindColon,
}

/// The text, without passwords in URLs and without values of what is called a password, a secret or a token.
#[must_use]
pub fn redacted(text: &str) -> String {
    without_values(&without_passwords_of_urls(text))
}

/// `scheme://user:password@host`: all between `//` and the last `@` before the path.
fn without_passwords_of_urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        out.push_str(before);
        // A password may hold a slash that nobody escaped: the last `@` of the word counts.
        let word = behind.find(|c: char| c.is_whitespace() || "\"'`<>".contains(c)).unwrap_or(behind.len());
        let (word, next) = behind.split_at(word);
        match word.rfind('@') {
            Some(end) => {
                let user = word[..end].split(':').next().unwrap_or_default();
                out.push_str(user);
                if user.len() < end {
                    out.push(':');
                    out.push_str(HIDDEN);
                }
                out.push_str(&word[end..]);
            }
            None => out.push_str(word),
        }
        rest = next;
    }
    out.push_str(rest);
    out
}

/// `password=...`, `--token ...`, `"secret": "..."`, `AWS_SECRET_ACCESS_KEY=...`, `Authorization: Bearer ...`, `-u USER:...`.
fn without_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(end) = rest.find(['=', ':', ' ']) {
        let (name, behind) = rest.split_at(end);
        out.push_str(name);
        // `password = ...`
        let said = behind.trim_start_matches(' ');
        let (separator, value) = match said.strip_prefix('=') {
            Some(value) => ('=', value),
            None if behind.starts_with(':') => (':', &behind[1..]),
            None => (' ', &behind[1..]),
        };
        let Some(secret) = secret(name, separator) else {
            out.push_str(&behind[..1]);
            rest = &behind[1..];
            continue;
        };
        let value = value.trim_start_matches(' ');
        out.push_str(&behind[..behind.len() - value.len()]);
        rest = hide(value, secret, &mut out);
    }
    out.push_str(rest);
    out
}

/// What is secret of what stands behind a name, and what separates the two.
fn secret(name: &str, separator: char) -> Option<Secret> {
    let option = name.rsplit(char::is_whitespace).next().unwrap_or_default();
    let is_login = LOGINS.contains(&option.trim_start_matches(['"', '\'']));
    if is_login && separator != ':' {
        return Some(Secret::BehindColon);
    }
    // `-uUSER:PASSWORD`
    if separator == ':' && option.starts_with("-u") {
        return Some(Secret::Word);
    }
    // `the token is wrong` names none: behind a blank only an option has a value.
    if separator == ' ' && !option.starts_with("--") {
        return None;
    }
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let word = name.rsplit(is_end).find(|word| !word.is_empty())?.to_ascii_lowercase();
    let joined = word.replace(['_', '-'], "");
    if joined.ends_with(HEADER) {
        return Some(Secret::Line);
    }
    if SECRETS.iter().any(|secret| joined.ends_with(secret)) {
        return Some(Secret::Word);
    }
    let is_short = word.rsplit(['_', '-']).next().is_some_and(|last| SHORT_SECRETS.contains(&last));
    // `first pass: 5 files` has none.
    let is_value = separator != ':' || name.ends_with(['"', '\'']);
    (is_short && is_value).then_some(Secret::Word)
}

/// Writes a value without what is secret of it; gives what stands behind it.
fn hide<'t>(value: &'t str, secret: Secret, out: &mut String) -> &'t str {
    let quote = value.chars().next().filter(|c| ['"', '\''].contains(c));
    let inside = quote.map_or(value, |quote| &value[quote.len_utf8()..]);
    let until = match (quote, secret) {
        (Some(quote), _) => inside.find(quote),
        (None, Secret::Line) => inside.find(['"', '\'', '\n']),
        (None, _) => inside.find(|c: char| c.is_whitespace() || ",;&\"')}".contains(c)),
    };
    let (value, rest) = inside.split_at(until.unwrap_or(inside.len()));
    let shown = match secret {
        Secret::BehindColon => value.find(':').map_or(value.len(), |colon| colon + 1),
        Secret::Word | Secret::Line => 0,
    };
    out.extend(quote);
    out.push_str(&value[..shown]);
    if shown < value.len() {
        out.push_str(HIDDEN);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_left() {
        for (text, shown) in [
            (
                "cannot reach postgres://ann:s3cret@db:5432/shop: refused",
                "cannot reach postgres://ann:***@db:5432/shop: refused",
            ),
            ("redis://:s3cret@h", "redis://:***@h"),
            ("https://u:s3cr@et/x@h/p", "https://u:***@h/p"),
            ("x=pg_dump 'host=h password=s3cret dbname=x'", "x=pg_dump 'host=h password=*** dbname=x'"),
            ("AWS_SECRET_ACCESS_KEY=s3cret aws", "AWS_SECRET_ACCESS_KEY=*** aws"),
            ("PGPASSWORD='s3 cret' pg_dump", "PGPASSWORD='***' pg_dump"),
            ("dump --token s3cret --name x", "dump --token *** --name x"),
            ("dump --api-key=s3cret", "dump --api-key=***"),
            (r#"{"password": "s3cret", "rows": 5}"#, r#"{"password": "***", "rows": 5}"#),
            ("https://h/x?sp=1&sig=s3cret%3D&y=2", "https://h/x?sp=1&sig=***&y=2"),
            ("https://hooks/?token=s3cret", "https://hooks/?token=***"),
            ("REDISCLI_AUTH=s3cret redis-cli", "REDISCLI_AUTH=*** redis-cli"),
            ("MINIO_SECRET_KEY=s3cret mc", "MINIO_SECRET_KEY=*** mc"),
            ("secretKey: s3cret", "secretKey: ***"),
            ("AccountName=a;AccountKey=s3cret==;x=1", "AccountName=a;AccountKey=***;x=1"),
            ("password = \"s3cret\"", "password = \"***\""),
            (r#"{"smtp_pass": "s3cret"}"#, r#"{"smtp_pass": "***"}"#),
            ("Authorization: Bearer s3cret\nHost: x", "Authorization: ***\nHost: x"),
            ("curl -H 'Authorization: Basic s3cret' https://h", "curl -H 'Authorization: ***' https://h"),
            ("curl -u me:s3cret https://h", "curl -u me:*** https://h"),
            ("curl --user='me:s3 cret' https://h", "curl --user='me:***' https://h"),
            ("curl -ume:s3cret https://h", "curl -ume:*** https://h"),
        ] {
            assert_eq!(redacted(text), shown);
            assert_eq!(redacted(shown), shown, "a second time");
        }
    }

    #[test]
    fn all_else_is_as_it_was() {
        for text in [
            "",
            "the password is wrong",
            "s3://backups/strongroom",
            "exit status: 7: no such token",
            "mail to a@b: refused",
            "http://[::1]:9000/x",
            "password=",
            "first pass: 5 files, bypass=no, config=x",
            "psql -u me -c x",
            "not authorized: no route",
            "größe=5 ärger: x",
        ] {
            assert_eq!(redacted(text), text);
        }
    }
}
