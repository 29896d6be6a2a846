//! From the process behind a Unix socket to its container.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::container_id::container_id;

/// How long an answer holds, as in the Agent: a process id may be given to another process.
const KEPT: Duration = Duration::from_secs(60);
/// Processes remembered at most.
const PROCESSES_MAX: usize = 8_192;
/// Answers in front of those that are remembered, each at the last bits of its process id: finding one there
/// is a comparison, which costs a datagram less than a hash. A power of two.
const RECENT: usize = 64;
/// Bytes read of `/proc/PID/cgroup`: a dozen controllers, each with a path.
const BYTES_MAX: u64 = 16 << 10;

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessOrigin<'a> {
    /// It runs in this container.
    Container(&'a [u8]),
    /// It runs on the machine itself.
    Machine,
    /// Its control group cannot be read: it has ended, or `/proc` is not that of its machine.
    Unreadable,
}

/// Remembers the containers of processes. Owned by one lane: no lock.
#[derive(Debug)]
pub struct Processes {
    proc: PathBuf,
    known: HashMap<i32, Known, ahash::RandomState>,
    /// Copies of known ones, which hold no longer than they do; no process has the number 0.
    recent: Box<[(i32, Known); RECENT]>,
}

#[derive(Clone, Debug)]
struct Known {
    until: Duration,
    container: Result<Arc<[u8]>, ()>,
}

impl Processes {
    /// `proc` is where the process file system is mounted.
    #[must_use]
    pub fn new(proc: &Path) -> Self {
        let none = (0, Known { until: Duration::ZERO, container: Err(()) });
        let recent = Box::new(std::array::from_fn(|_| none.clone()));
        Processes { proc: proc.to_path_buf(), known: HashMap::default(), recent }
    }

    /// The container of `pid`; `now` is any clock that only goes forward. A process seen for the
    /// first time costs reading one file of `/proc`.
    #[inline]
    pub fn origin(&mut self, pid: i32, now: Duration) -> ProcessOrigin<'_> {
        let at = pid.cast_unsigned() as usize % RECENT;
        let (recent, known) = &self.recent[at];
        if *recent != pid || now >= known.until {
            self.recall(at, pid, now);
        }
        match &self.recent[at].1.container {
            Ok(id) if id.is_empty() => ProcessOrigin::Machine,
            Ok(id) => ProcessOrigin::Container(id),
            Err(()) => ProcessOrigin::Unreadable,
        }
    }

    /// Brings what is known of a process to the front, or looks.
    #[inline(never)]
    fn recall(&mut self, at: usize, pid: i32, now: Duration) {
        let known = match self.known.get(&pid) {
            Some(known) if now < known.until => known.clone(),
            _ => self.look(pid, now),
        };
        self.recent[at] = (pid, known);
    }

    /// The container of `pid` as far as it was looked up before; never looks itself.
    #[must_use]
    pub fn known_container(&self, pid: i32) -> Option<&[u8]> {
        let id = self.known.get(&pid)?.container.as_deref().ok()?;
        (!id.is_empty()).then_some(id)
    }

    #[cold]
    fn look(&mut self, pid: i32, now: Duration) -> Known {
        if self.known.len() >= PROCESSES_MAX {
            self.known.retain(|_, known| now < known.until);
            if self.known.len() >= PROCESSES_MAX {
                self.known.clear();
            }
        }
        let path = self.proc.join(pid.to_string()).join("cgroup");
        let container = read(&path)
            .map(|text| container_id(&text).map_or(Arc::default(), |id| Arc::from(id.as_bytes())));
        let known = Known { until: now + KEPT, container: container.map_err(drop) };
        self.known.insert(pid, known.clone());
        known
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ID: &str = "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860";

    fn write(root: &Path, pid: i32, text: &str) {
        fs::create_dir_all(root.join(pid.to_string())).unwrap();
        fs::write(root.join(pid.to_string()).join("cgroup"), text).unwrap();
    }

    #[test]
    fn an_answer_holds_for_a_minute() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), 7, &format!("0::/docker/{ID}\n"));
        write(root.path(), 8, "0::/init.scope\n");
        let mut processes = Processes::new(root.path());
        let at = Duration::from_secs;
        assert_eq!(processes.origin(7, at(0)), ProcessOrigin::Container(ID.as_bytes()));
        assert_eq!(processes.origin(8, at(0)), ProcessOrigin::Machine);
        assert_eq!(processes.origin(9, at(0)), ProcessOrigin::Unreadable);
        let known = |pid| processes.known_container(pid);
        assert_eq!([7, 8, 9, 10].map(known), [Some(ID.as_bytes()), None, None, None]);
        write(root.path(), 7, "0::/init.scope\n");
        write(root.path(), 9, &format!("0::/docker/{ID}\n"));
        assert_eq!(processes.origin(7, at(59)), ProcessOrigin::Container(ID.as_bytes()));
        assert_eq!(processes.origin(9, at(59)), ProcessOrigin::Unreadable);
        assert_eq!(processes.origin(7, at(60)), ProcessOrigin::Machine);
        assert_eq!(processes.origin(9, at(60)), ProcessOrigin::Container(ID.as_bytes()));
    }

    #[test]
    fn memory_is_bounded_under_a_flood_of_processes() {
        let root = tempfile::tempdir().unwrap();
        let mut processes = Processes::new(root.path());
        for pid in 1..=(2 * PROCESSES_MAX as i32 + 5) {
            processes.origin(pid, Duration::ZERO);
        }
        assert!(processes.known.len() <= PROCESSES_MAX, "{}", processes.known.len());
    }
}
