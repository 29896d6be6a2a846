//! What a pipe has carried so far.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::PATIENCE;

#[derive(Default)]
pub struct Captured {
    shared: Arc<(Mutex<Vec<u8>>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Captured {
    /// Reads the pipe to its end, on a thread of its own.
    pub fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let target = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 16 << 10];
            while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                target.0.lock().expect("no panic inside").extend_from_slice(&bytes[..count]);
                target.1.notify_all();
            }
        });
        Captured { shared, reader: Some(reader) }
    }

    /// Without the times that lines of a log begin with.
    pub fn text(&self) -> String {
        let bytes = self.shared.0.lock().expect("no panic inside");
        String::from_utf8_lossy(&bytes).split_inclusive('\n').map(undated).collect()
    }

    /// Waits until something comes of it; panics with everything so far when nothing does.
    #[track_caller]
    pub fn until<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if let Some(found) = find(&text) {
                return found;
            }
            assert!(Instant::now() < until, "not within {PATIENCE:?}; so far:\n{text}");
            self.changed_within(Duration::from_millis(20));
        }
    }

    pub fn changed_within(&self, time: Duration) {
        let bytes = self.shared.0.lock().expect("no panic inside");
        drop(self.shared.1.wait_timeout(bytes, time).expect("no panic inside"));
    }

    /// Everything, once the pipe is at its end.
    pub fn rest(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no panic inside");
        }
        self.text()
    }
}

/// `2026-01-02T12:00:10.123456Z said` as `said`.
fn undated(line: &str) -> &str {
    const DATED: usize = "2026-01-02T12:00:10.123456Z ".len();
    match line.split_at_checked(DATED) {
        Some((date, said)) if date.ends_with("Z ") && date.as_bytes()[10] == b'T' => said,
        _ => line,
    }
}
