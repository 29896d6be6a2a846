//! Everything that the library logs in this test program, from all of its threads.

use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, PoisonError};

static TEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// A program has one log; the first test that asks for it starts it, at its finest level.
static STARTED: LazyLock<()> = LazyLock::new(|| {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(|| Sink)
        .init();
});

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TEXT.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs are kept from here on.
pub fn start() {
    LazyLock::force(&STARTED);
}

/// What was logged since [`start`], by all tests.
pub fn text() -> String {
    String::from_utf8_lossy(&TEXT.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}
