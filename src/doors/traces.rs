//! Traces: answered, counted and dropped.

use std::sync::Arc;

use super::{Answer, Door, DoorsAccounting, Refusal, Request, Sink};

/// Takes traces of every version before 0.7 and keeps none.
#[derive(Debug)]
pub(crate) struct Traces {
    accounting: Arc<DoorsAccounting>,
}

impl Traces {
    pub fn new(accounting: Arc<DoorsAccounting>) -> Self {
        Traces { accounting }
    }
}

impl Door for Traces {
    fn take(&self, request: &Request<'_>, _: &mut dyn Sink) -> Result<Answer, Refusal> {
        if !request.body.first().is_some_and(|first| begins_a_list(*first)) {
            return Err(Refusal::decode("expected a msgpack or JSON list of traces"));
        }
        let traces = request.header("x-datadog-trace-count").and_then(|text| text.parse().ok());
        let language = request.header("datadog-meta-lang").unwrap_or_default();
        let bytes = request.body.len() as u64;
        let computes_stats = is_set(request.header("datadog-client-computed-stats"));
        self.accounting.traces(language, traces.unwrap_or(0), bytes, computes_stats);
        Ok(answer(request.path))
    }
}

/// The first byte of a msgpack list (fixed, 16 or 32 bits of length) or of a JSON one.
fn begins_a_list(first: u8) -> bool {
    matches!(first, 0x90..=0x9f | 0xdc | 0xdd | b'[')
}

/// True for any word that does not mean no: clients write `yes`, `true` or `1`.
fn is_set(header: Option<&str>) -> bool {
    header.is_some_and(|word| {
        !["", "0", "f", "false", "no", "n"].iter().any(|no| word.trim().eq_ignore_ascii_case(no))
    })
}

/// From version 0.4 on the answer may set the sampling rate of each service. Ours sets none: the decision
/// would travel with the trace to services that use a real Agent.
fn answer(path: &str) -> Answer {
    if path.starts_with("/v0.4/") || path.starts_with("/v0.5/") {
        return Answer::json(200, "{\"rate_by_service\":{}}");
    }
    Answer { status: 200, content_type: "text/plain", body: "OK\n".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_told_from_everything_else_by_their_first_byte() {
        for first in [0x90, 0x9f, 0xdc, 0xdd, b'['] {
            assert!(begins_a_list(first), "{first:#x}");
        }
        for first in [0x80, 0x8f, 0xa0, 0xc0, 0xdb, 0xde, b'{', b' ', b'"', 0] {
            assert!(!begins_a_list(first), "{first:#x}");
        }
    }

    #[test]
    fn a_client_computes_stats_unless_it_says_no_or_nothing() {
        for (header, expect) in [
            (None, false),
            (Some(""), false),
            (Some("false"), false),
            (Some("No"), false),
            (Some("yes"), true),
            (Some("true"), true),
            (Some("1"), true),
        ] {
            assert_eq!(is_set(header), expect, "{header:?}");
        }
    }
}
