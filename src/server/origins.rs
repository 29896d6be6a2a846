//! From the credentials of a datagram to the container that sent it, for one lane.

use std::path::Path;
use std::time::Duration;

use crate::net::Sender;
use crate::tagger::{ProcessOrigin, Processes};

/// How long a failure stays unmentioned after it was mentioned.
const QUIET: Duration = Duration::from_secs(60);

/// Looks up the origins of datagrams and says, not too often, when that fails.
#[derive(Debug)]
pub(super) struct Origins {
    processes: Processes,
    /// Monotonic time of the batch.
    now: Duration,
    /// Datagrams of senders in a foreign pid namespace, and of senders whose control group could not
    /// be read, since that was last said.
    failures: [u64; 2],
    quiet_until: Duration,
}

/// Who sent a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A container, or an unknown sender (then the id is empty).
    Container(&'a [u8]),
    /// A process whose container could not be read.
    Unreadable,
}

const FOREIGN: usize = 0;
const UNREADABLE: usize = 1;

impl Origins {
    /// `proc` is where the process file system is mounted.
    pub fn new(proc: &Path) -> Self {
        Origins {
            processes: Processes::new(proc),
            now: Duration::ZERO,
            failures: [0; 2],
            quiet_until: Duration::ZERO,
        }
    }

    /// Tells the monotonic time of the datagrams that follow.
    pub fn begin_batch(&mut self, now: Duration) {
        self.now = now;
    }

    /// The container of a sender. A sender in a foreign pid namespace has process id 0; `net` counts
    /// it, and its datagram is kept without origin.
    pub fn find(&mut self, from: &Sender<'_>) -> Found<'_> {
        let Some(credentials) = from.credentials() else { return Found::Container(b"") };
        if credentials.pid <= 0 {
            self.failures[FOREIGN] += 1;
            return Found::Container(b"");
        }
        match self.processes.origin(credentials.pid, self.now) {
            ProcessOrigin::Container(id) => Found::Container(id),
            ProcessOrigin::Machine => Found::Container(b""),
            ProcessOrigin::Unreadable => {
                self.failures[UNREADABLE] += 1;
                Found::Unreadable
            }
        }
    }

    /// The container of a process that sent something, without looking it up again.
    pub fn known_container(&self, pid: i32) -> Option<&[u8]> {
        self.processes.known_container(pid)
    }

    /// The interval is over: says what failed.
    ///
    /// Differs: the Agent warns once per packet.
    pub fn close(&mut self) {
        if self.failures == [0; 2] || self.now < self.quiet_until {
            return;
        }
        self.quiet_until = self.now + QUIET;
        let [foreign, unreadable] = std::mem::take(&mut self.failures);
        if foreign > 0 {
            tracing::warn!(
                target: "net",
                "origin of {foreign} datagrams unknown: their senders live in another pid namespace; run whippet with the pid namespace of the machine (hostPID), or let clients send c:"
            );
        }
        if unreadable > 0 {
            tracing::warn!(
                target: "net",
                "origin of {unreadable} datagrams unknown: the control group of their process cannot be read; it has ended, or container_proc_root is not that of the machine"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Credentials;

    const ID: &str = "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860";

    #[test]
    fn a_sender_is_its_container_and_every_failure_is_counted() {
        let root = tempfile::tempdir().unwrap();
        for (pid, text) in [(7, format!("0::/docker/{ID}\n")), (8, "0::/init.scope\n".to_owned())] {
            let folder = root.path().join(pid.to_string());
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("cgroup"), text).unwrap();
        }
        let mut senders = Origins::new(root.path());
        let process = |pid| Sender::Process(Credentials { pid, uid: 1, gid: 1 });
        assert_eq!(senders.find(&process(7)), Found::Container(ID.as_bytes()));
        assert_eq!(senders.find(&process(8)), Found::Container(b""));
        assert_eq!(senders.find(&Sender::Unknown), Found::Container(b""));
        assert_eq!(senders.failures, [0, 0]);
        assert_eq!(senders.find(&process(0)), Found::Container(b""));
        assert_eq!(senders.find(&process(9)), Found::Unreadable);
        assert_eq!(senders.failures, [1, 1]);
        senders.close();
        senders.find(&process(9));
        senders.close();
        assert_eq!(senders.failures, [0, 1], "said once a minute, counted all the time");
    }
}
