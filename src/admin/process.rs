//! What the system says of this process: memory, processor time, descriptors.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Resources of the process; zero where the system does not say.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProcessStatus {
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    /// Processor time of all threads.
    pub cpu_seconds: f64,
    pub open_files: u64,
    pub open_files_max: u64,
    /// Unix seconds.
    pub started_at: u64,
}

impl ProcessStatus {
    /// As of now; the process started at `started_at` (Unix time).
    pub fn of(started_at: Duration) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::try_from(cpu).unwrap_or_default();
        ProcessStatus {
            resident_bytes: bytes(&status, "VmRSS:"),
            virtual_bytes: bytes(&status, "VmSize:"),
            cpu_seconds: cpu.as_secs_f64(),
            open_files: open_files(Path::new("/proc/self/fd")),
            // No limit is as good as the largest one.
            open_files_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            started_at: started_at.as_secs(),
        }
    }
}

/// A figure of `/proc/self/status`, which is in KiB.
fn bytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

/// Entries of the folder, without the descriptor that reads it.
fn open_files(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).map(|entries| entries.count()).unwrap_or_default();
    (entries as u64).saturating_sub(1)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_what_this_process_uses() {
        let found = ProcessStatus::of(Duration::from_millis(7_900));
        assert!(found.resident_bytes > 1 << 20 && found.virtual_bytes >= found.resident_bytes);
        assert!(found.cpu_seconds > 0.0);
        assert!(found.open_files >= 3 && found.open_files <= found.open_files_max, "{found:?}");
        assert_eq!(found.started_at, 7);
    }

    #[test]
    fn figures_in_kib_are_read_as_bytes() {
        assert_eq!(bytes("VmSize:\t 9 kB\nVmRSS:\t    12 kB\n", "VmRSS:"), 12 << 10);
        assert_eq!(bytes("VmRSS:\tmuch\n", "VmRSS:"), 0);
    }
}
