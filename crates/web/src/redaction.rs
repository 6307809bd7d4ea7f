//! Passwords in texts that somebody else wrote: an error that quotes a URL, a command of a configuration. The one place through which
//! all of them go before they are shown.

const HIDDEN: &str = "***";
/// Whatever name ends so is of a secret.
const SECRET_NAMES: [&str; 10] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "access_key",
    "api_key",
    "apikey",
    "credentials",
];

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

/// `password=...`, `--token ...`, `"secret": "..."`, `AWS_SECRET_ACCESS_KEY=...`.
fn without_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(end) = rest.find(['=', ':', ' ']) {
        let (name, behind) = rest.split_at(end);
        out.push_str(name);
        let last = name
            .rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .find(|word| !word.is_empty());
        let word = last.unwrap_or_default().to_ascii_lowercase().replace('-', "_");
        let is_secret = SECRET_NAMES.iter().any(|secret| word.ends_with(secret));
        // `the token is wrong` names none: behind a blank only an option has a value.
        let is_option = name.rsplit(char::is_whitespace).next().is_some_and(|word| word.starts_with("--"));
        if is_secret && (!behind.starts_with(' ') || is_option) {
            let value = behind[1..].trim_start_matches(' ');
            out.push_str(&behind[..behind.len() - value.len()]);
            let quote = value.chars().next().filter(|c| ['"', '\''].contains(c));
            let inside = quote.map_or(value, |quote| &value[quote.len_utf8()..]);
            let until = match quote {
                Some(quote) => inside.find(quote),
                None => inside.find(|c: char| c.is_whitespace() || ",;&\"')}".contains(c)),
            };
            out.extend(quote);
            let hidden = until.unwrap_or(inside.len());
            if hidden > 0 {
                out.push_str(HIDDEN);
            }
            rest = &inside[hidden..];
        } else {
            out.push_str(&behind[..1]);
            rest = &behind[1..];
        }
    }
    out.push_str(rest);
    out
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
            ("https://h/x?sig=1&token=s3cret&y=2", "https://h/x?sig=1&token=***&y=2"),
            ("https://hooks/?token=s3cret", "https://hooks/?token=***"),
        ] {
            assert_eq!(redacted(text), shown);
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
            "größe=5 ärger: x",
        ] {
            assert_eq!(redacted(text), text);
        }
    }
}
