//! Which of two answers a client would rather have, by its `Accept` header.

/// True for a client that names `text/html` and gives it at least the weight of plain text: a
/// browser. `*/*`, as `curl` sends it, names nothing.
#[must_use]
pub fn prefers_html(accept: &str) -> bool {
    let ranges: Vec<(&str, f32)> = accept.split(',').map(range).collect();
    let weight = |wanted: &[&str]| {
        let named = wanted
            .iter()
            .find_map(|name| ranges.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)));
        named.map_or(0.0, |(_, weight)| *weight)
    };
    let html = weight(&["text/html"]);
    html > 0.0 && html >= weight(&["text/plain", "text/*", "*/*"])
}

/// `text/html;q=0.9` as the type and its weight, 1 when it is not given. A weight that cannot be
/// read is 0: what the client means by it is unknown.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let weight = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
    (name, weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_html_gets_it() {
        for (accept, expect) in [
            // Browsers: Chromium, Firefox, Safari.
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", true),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("text/html", true),
            ("Text/HTML; charset=utf-8 ; q=0.7, text/plain;q=0.7", true),
            // curl, wget, nothing at all, scripts, Prometheus.
            ("*/*", false),
            ("", false),
            ("text/plain", false),
            ("application/json", false),
            ("text/plain, text/html;q=0.5", false),
            ("text/*, text/html;q=0.5", false),
            ("text/html;q=0, */*", false),
            ("text/html;q=much", false),
            ("xtext/html", false),
        ] {
            assert_eq!(prefers_html(accept), expect, "{accept}");
        }
    }
}
