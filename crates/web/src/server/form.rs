//! What browsers send: fields of forms, cookies.

use strongroom_engines::http::percent_decoded;

/// A field of a form, or of a query.
pub(super) fn field(form: &str, name: &str) -> Option<String> {
    let value =
        form.split('&').filter_map(|field| field.split_once('=')).find(|(known, _)| *known == name)?.1;
    percent_decoded(&value.replace('+', " "))
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
    fn fields_and_cookies_are_found() {
        assert_eq!(field("x=1&token=a+b%26c&y", "token").as_deref(), Some("a b&c"));
        assert_eq!(field("xtoken=1", "token"), None);
        assert_eq!(field("token=%ff", "token"), None);
        assert_eq!(cookie("a=1; session=xyz;b=2", "session"), Some("xyz"));
        assert_eq!(cookie("mysession=xyz", "session"), None);
    }
}
