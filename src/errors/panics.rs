//! Panics: the nearest thing to an error that nobody handled.

use std::collections::HashSet;
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, Once, PoisonError};

use super::global::record_panic;

/// Counts every panic of the program under `kind:panic`, as of the place that panicked, and then does what the
/// hook before did. Only the first call changes anything. A program whose panics abort is gone before the
/// count is flushed.
pub fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            count(info);
            before(info);
        }));
    });
}

fn count(info: &PanicHookInfo<'_>) {
    if let Some(location) = info.location() {
        record_panic(kept(location.file()), location.line(), location.column());
    }
}

/// The name of a source file for good. There are as many as the program has files that panicked.
fn kept(file: &str) -> &'static str {
    static FILES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let files = files.get_or_insert_default();
    if let Some(kept) = files.get(file) {
        return kept;
    }
    let kept: &'static str = Box::leak(Box::from(file));
    files.insert(kept);
    kept
}
