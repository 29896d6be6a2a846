//! The reader of standard output: when it is gone (`whippet tap | head -1`), the command ends.

use std::io;
use std::process;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Ends the program with code 0 once nothing reads standard output any more, also while it waits for
/// something to print. For commands that go on until they are stopped.
pub(super) fn end_with_it() -> io::Result<()> {
    let watch = || {
        let out = io::stdout();
        // Errors and hang-ups are reported without being asked for.
        let mut watched = [PollFd::new(&out, PollFlags::empty())];
        loop {
            match poll(&mut watched, None) {
                Err(Errno::INTR) => {}
                Ok(_) if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => {
                    process::exit(0)
                }
                // It cannot be watched; then the next write finds out.
                _ => return,
            }
        }
    };
    thread::Builder::new().name("reader".to_owned()).spawn(watch).map(drop)
}
