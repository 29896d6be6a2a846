//! URLs: checking their syntax, and printing them without secrets.

use std::fmt;

/// A URL that may contain a password or a key, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// The whole URL with its secrets: for connecting, not for printing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_secrets(&self.0))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// Checks the syntax of a URL; it is not resolved.
pub(super) fn parse(text: &str, schemes: &[&str], scheme_optional: bool) -> Result<Url, String> {
    let wrong = |what: &str| Err(format!("{what}; use an absolute URL such as https://host:port"));
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return wrong("contains whitespace");
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        // More than a host: `http//x` is a typing mistake, not a host called `http`.
        None if scheme_optional && !text.trim_end_matches('/').contains('/') => ("http", text),
        None => return wrong("has no scheme"),
    };
    if !schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return wrong(&format!("has a scheme other than {}", schemes.join(", ")));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_port = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match host_port.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => return wrong("has an unterminated IPv6 address"),
        },
        None => match host_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_port, None),
        },
    };
    if host.is_empty() {
        return wrong("has no host");
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return wrong("has an invalid port");
    }
    Ok(Url(text.trim_end_matches('/').to_owned()))
}

/// Checks the URL of a real Agent: `http`, or `unix` with an absolute path.
pub(super) fn parse_upstream(text: &str) -> Result<Url, String> {
    let way_out = "; use http://host:port or unix:///path";
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') && path.len() > 1 => Ok(Url(text.to_owned())),
        Some(_) => Err(format!("has no absolute path{way_out}")),
        None => {
            let url = parse(text, &["http"], false).map_err(|wrong| {
                wrong.split(';').next().unwrap_or_default().to_owned() + way_out
            })?;
            let rest = url.0.split_once("://").map_or("", |(_, rest)| rest);
            match rest.contains(['/', '?', '#', '@']) {
                true => Err(format!("has more than a host and a port{way_out}")),
                false => Ok(url),
            }
        }
    }
}

/// A URL without its user, password and the values of its query and fragment, all of which may be
/// secret. The text may be a mistyped URL, so everything from the first colon to the last `@` is
/// hidden, which may be more than the password.
pub(super) fn without_secrets(text: &str) -> String {
    // A group of a regular expression, `(?`, begins no query.
    let query = text.find(['?', '#']).filter(|at| !text[..*at].ends_with('('));
    let (text, query) = text.split_at(query.unwrap_or(text.len()));
    let mut shown = without_password(text);
    let mark = query.chars().next();
    shown.extend(mark);
    for (number, pair) in
        query.split(['?', '#']).skip(1).flat_map(|part| part.split('&')).enumerate()
    {
        shown.push_str(if number > 0 { "&" } else { "" });
        match pair.split_once('=') {
            Some((name, _)) => shown.extend([name, "=***"]),
            // Without a name it is all value.
            None if !pair.is_empty() => shown.push_str("***"),
            None => {}
        }
    }
    shown
}

fn without_password(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let user_part = text.rfind('@').and_then(|end| Some((text.get(start..end)?, end)));
    match user_part.and_then(|(user, end)| Some((start + user.find(':')?, end))) {
        Some((colon, end)) => format!("{}:***{}", &text[..colon], &text[end..]),
        // A user alone may be a token.
        None if text[..start].ends_with("://") => match text.rfind('@').filter(|at| *at >= start) {
            Some(at) => format!("{}***{}", &text[..start], &text[at..]),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_also_in_mistyped_urls() {
        for (text, shown) in [
            ("http://u:p@x:1/a", "http://u:***@x:1/a"),
            ("http//u:p@x", "http//u:***@x"),
            ("u:p/q@x", "u:***@x"),
            ("http://token@x:1", "http://***@x:1"),
            ("http://x:1/a", "http://x:1/a"),
            ("@://", "@://"),
            ("https://x/?api_key=abc", "https://x/?api_key=***"),
            ("https://x/a?abc", "https://x/a?***"),
            ("https://x?a=1&b&c=d#e=f", "https://x?a=***&***&c=***&e=***"),
            ("x/?api_key=u:p@x", "x/?api_key=***"),
            ("https://u:p@x/?k=v", "https://u:***@x/?k=***"),
            ("https://x/#token", "https://x/#***"),
            ("https://x/?", "https://x/?"),
            ("(?P<a>b=c)", "(?P<a>b=c)"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }
}
