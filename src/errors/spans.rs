//! Errors as events of the current span of `tracing`: each different one once, at most 100 a span.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::sync::{Mutex, PoisonError};

use super::table::Entry;

/// Different errors in one span.
const ERRORS_MAX: usize = 100;
/// Spans remembered. A span's end is not seen here; ids are not used again soon.
const SPANS_MAX: usize = 1024;

#[derive(Debug, Default)]
struct Recent {
    /// Fingerprints by the id of the span.
    seen: HashMap<u64, Vec<u64>, ahash::RandomState>,
    order: VecDeque<u64>,
}

/// What recent spans have got.
#[derive(Debug, Default)]
pub(super) struct Spans {
    recent: Mutex<Recent>,
}

impl Spans {
    /// True when somebody takes events of this kind: one load where nobody does.
    #[inline]
    pub fn wanted() -> bool {
        tracing::enabled!(target: "whippet::errors", tracing::Level::INFO)
    }

    /// Adds an event to the current span, if there is one and it has not got this error yet.
    pub fn attach(&self, entry: &Entry, error: Option<&(dyn Error + 'static)>) {
        let Some(span) = tracing::Span::current().id().map(|id| id.into_u64()) else { return };
        if !self.is_new(span, entry.fingerprint) {
            return;
        }
        let [error_type, module, fingerprint, _] = &entry.tags;
        let message = error.map(super::sample::messages).unwrap_or_default();
        tracing::event!(
            target: "whippet::errors",
            tracing::Level::INFO,
            {
                "exception.type" = value(error_type),
                "exception.message" = message.as_str(),
                module = value(module),
                fingerprint = value(fingerprint),
            },
            "exception"
        );
    }

    fn is_new(&self, span: u64, fingerprint: u64) -> bool {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let Recent { seen, order } = &mut *recent;
        if let Some(errors) = seen.get_mut(&span) {
            let new = errors.len() < ERRORS_MAX && !errors.contains(&fingerprint);
            if new {
                errors.push(fingerprint);
            }
            return new;
        }
        if order.len() >= SPANS_MAX {
            order.pop_front().and_then(|oldest| seen.remove(&oldest));
        }
        order.push_back(span);
        seen.insert(span, vec![fingerprint]);
        true
    }
}

/// What follows the key of a tag.
fn value(tag: &str) -> &str {
    tag.split_once(':').map_or(tag, |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_gets_each_error_once_and_a_hundred_at_most() {
        let spans = Spans::default();
        let new = (0..150).filter(|error| spans.is_new(7, *error)).count();
        assert_eq!(new, ERRORS_MAX);
        assert!(!spans.is_new(7, 5));
        assert!(spans.is_new(8, 5));
        for span in 0..5_000 {
            spans.is_new(100 + span, 1);
        }
        let recent = spans.recent.lock().unwrap();
        assert_eq!((recent.seen.len(), recent.order.len()), (SPANS_MAX, SPANS_MAX));
    }
}
