//! What browsers send: parts of paths, fields of forms, cookies.

/// `%2F` and the like; `None` for what is no text.
pub(super) fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// A field of a form, or of a query.
pub(super) fn field(form: &str, name: &str) -> Option<String> {
    let value =
        form.split('&').filter_map(|field| field.split_once('=')).find(|(known, _)| *known == name)?.1;
    decoded(&value.replace('+', " "))
}

/// A cookie by its name.
pub(super) fn cookie<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    header
        .split(';')
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_nothing() {
        assert_eq!(decoded("a%2Fb%20%C3%A9").as_deref(), Some("a/b é"));
        for wrong in ["%", "%4", "%zz", "%ff", "%C3"] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
        assert_eq!(field("x=1&token=a+b%26c&y", "token").as_deref(), Some("a b&c"));
        assert_eq!(field("xtoken=1", "token"), None);
        assert_eq!(cookie("a=1; session=xyz;b=2", "session"), Some("xyz"));
        assert_eq!(cookie("mysession=xyz", "session"), None);
    }
}
