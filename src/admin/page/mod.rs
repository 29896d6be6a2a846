//! The live page in the browser: one document, its script and its style, and the answers it asks for.
//!
//! Everything is embedded and comes from this server: no name of another host is in it, and the
//! policy of the document lets a browser load nothing else. Texts of clients reach the page as JSON
//! and are shown as text.

mod metric;
mod observed;
mod remedies;
mod snapshot;
mod verdict;

use std::sync::Arc;

use super::INDEX;
use super::state::AdminState;
use crate::http::{Header, Request, Response, Router, direct, page, prefers_html};

pub(crate) use self::observed::Observed;
pub(crate) use self::snapshot::observe;

/// Nothing but what this server serves, no inline script or style, in no frame.
const POLICY: Header = (
    "content-security-policy",
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Of everything the page is made of.
const HEADERS: &[Header] = &[
    POLICY,
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("vary", "accept"),
];

const DOCUMENT: &str = include_str!("web/index.html");

/// Path, media type, text.
const FILES: [(&str, &str, &str); 8] = [
    ("/page/page.css", "text/css; charset=utf-8", include_str!("web/page.css")),
    ("/page/page.js", "text/javascript; charset=utf-8", include_str!("web/page.js")),
    ("/page/details.js", "text/javascript; charset=utf-8", include_str!("web/details.js")),
    ("/page/parts.js", "text/javascript; charset=utf-8", include_str!("web/parts.js")),
    ("/page/plots.js", "text/javascript; charset=utf-8", include_str!("web/plots.js")),
    ("/page/uplot.js", "text/javascript; charset=utf-8", include_str!("web/uPlot.iife.min.js")),
    ("/page/uplot.css", "text/css; charset=utf-8", include_str!("web/uPlot.min.css")),
    ("/page/icon.svg", "image/svg+xml", include_str!("web/icon.svg")),
];

/// What makes an answer.
type Answer = fn(&AdminState, &Request) -> Response;

/// Adds the page to the pages for programs. `/` is the document for a browser, and the index in text
/// for everybody else.
pub(super) fn routes(router: Router, state: &Arc<AdminState>) -> Router {
    let router = router.route("/", direct(index));
    let with_files = FILES.iter().fold(router, |router, (path, media_type, text)| {
        router.route(path, direct(move |_| file(media_type, text)))
    });
    let answers: [(&str, Answer); 4] = [
        ("/page/snapshot.json", snapshot::answer),
        ("/page/metric.json", metric::answer),
        ("/page/tap.json", metric::tap),
        ("/page/explain.json", metric::explain),
    ];
    answers.into_iter().fold(with_files, |router, (path, make)| {
        let state = Arc::clone(state);
        router.route(path, page(move |request| make(&state, request).with_headers(HEADERS)))
    })
}

fn file(media_type: &'static str, text: &str) -> Response {
    Response::whole(200, media_type, text.as_bytes().to_vec()).with_headers(HEADERS)
}

fn index(request: &Request) -> Response {
    if prefers_html(&request.accept) {
        file("text/html; charset=utf-8", DOCUMENT)
    } else {
        Response::text(200, INDEX).with_headers(&[("vary", "accept")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A browser would refuse it, and the page would be dead; and a text of a client could become markup.
    #[test]
    fn no_file_has_inline_code_or_another_host() {
        for tag in ["<script>", "<style", " style=", " onclick=", " onload="] {
            assert!(!DOCUMENT.contains(tag), "{tag}");
        }
        let ours = FILES.iter().filter(|(path, ..)| !path.contains("uplot"));
        for (path, _, text) in ours.chain([&("/", "", DOCUMENT)]) {
            for call in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!text.contains(call), "{path}: {call}");
            }
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{path}");
        }
    }

    #[test]
    fn every_file_the_document_names_is_served() {
        let names = DOCUMENT.split('"').filter(|part| part.starts_with("/page/"));
        let names: Vec<&str> = names.collect();
        assert!(names.len() >= 5, "{names:?}");
        for name in names {
            assert!(FILES.iter().any(|(path, ..)| *path == name), "{name}");
        }
    }
}
