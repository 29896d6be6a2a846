//! Signals, as a queue for the main thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals as Hooked;

/// What the outside wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT, by number.
    Stop(i32),
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    ToggleDebug,
    /// SIGUSR2: no meaning, but the process must not end by it either.
    Unused,
}

/// The signals of the process from the moment it was made.
pub struct Signals(Hooked);

impl Signals {
    /// # Errors
    /// When the system refuses a handler.
    pub fn new() -> io::Result<Self> {
        Hooked::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2]).map(Signals)
    }

    /// Waits for the next one.
    pub fn wait(&mut self) -> Signal {
        loop {
            match self.0.forever().next() {
                Some(SIGHUP) => return Signal::Reload,
                Some(SIGUSR1) => return Signal::ToggleDebug,
                Some(SIGUSR2) => return Signal::Unused,
                Some(signal) => return Signal::Stop(signal),
                // Only a closed handle ends the iteration, and there is no handle.
                None => std::thread::park(),
            }
        }
    }
}

/// From now on a write past the limit on the size of files (`ulimit -f`, `LimitFSIZE=`) fails with
/// `EFBIG`, as one to a full disk fails with `ENOSPC`, instead of ending the process by SIGXFSZ.
/// With a handler instead of "ignore", programs that this one starts keep the default.
///
/// # Errors
/// When the system refuses a handler.
pub fn survive_file_size_limit() -> io::Result<()> {
    let seen = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGXFSZ, seen).map(drop)
}
