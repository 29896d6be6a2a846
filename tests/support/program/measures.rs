//! What the process costs, as the kernel says.

use super::Program;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

impl Program {
    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the system says of the process: a file or folder below `/proc/PID`.
    pub fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid()).into()
    }

    /// Resident memory now, in bytes.
    pub fn rss(&mut self) -> u64 {
        let status = fs::read_to_string(self.proc("status"));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        let rss = kilobytes.unwrap_or(0) << 10;
        self.rss_max = self.rss_max.max(rss);
        rss
    }

    /// The most that [`Program::rss`] has seen.
    pub fn rss_max(&self) -> u64 {
        self.rss_max
    }

    /// Processor time so far, all threads.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
        let ticks: u64 = fields.take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }
}
