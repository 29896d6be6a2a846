//! Signals, as a queue for the main thread.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Hooked;

/// What the outside wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT, by number.
    Stop(i32),
    /// SIGHUP.
    Reload,
}

/// The signals of the process from the moment it was made.
pub struct Signals(Hooked);

impl Signals {
    /// # Errors
    /// When the system refuses a handler.
    pub fn new() -> io::Result<Self> {
        Hooked::new([SIGTERM, SIGINT, SIGHUP]).map(Signals)
    }

    /// Waits for the next one.
    pub fn wait(&mut self) -> Signal {
        loop {
            match self.0.forever().next() {
                Some(SIGHUP) => return Signal::Reload,
                Some(signal) => return Signal::Stop(signal),
                // Only a closed handle ends the iteration, and nobody holds one.
                None => std::thread::park(),
            }
        }
    }
}
