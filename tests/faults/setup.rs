//! A program whose files a test looks at: configuration, key, spool.

use crate::support::intake::Intake;
use crate::support::program::{KEY, Setup};
use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// Posts there, once a second, and retries quickly. Settings and key are files, as a service has
/// them.
pub fn to_url(url: &str) -> Setup {
    let setup = Setup::bare().in_file().unset("self_telemetry").unset("admin_address");
    let (key, spool) = (setup.path("key"), setup.path("spool"));
    std::fs::write(&key, KEY).expect("a writable folder");
    setup
        .set("api_key_file", key.display())
        .set("dd_url", url)
        .set("interval", "1s")
        .set("forwarder_backoff_base", 0.05)
        .set("forwarder_backoff_max", 0.4)
        .set("forwarder_timeout", 1)
        .set("forwarder_storage_path", spool.display())
        // The disk of the machine may be nearly full.
        .set("forwarder_storage_max_disk_ratio", "1.0")
}

/// Posts to that intake, and nothing of its own.
pub fn to_intake(intake: &Intake) -> Setup {
    to_url(&intake.url()).set("self_telemetry", false).set("admin_address", "")
}

/// What waits on disk.
pub trait Spooled {
    /// Keeps what memory cannot hold on disk; memory holds `memory_bytes`.
    fn spooling(self, memory_bytes: u64) -> Self;
    /// How many payloads wait on disk.
    fn records(&self) -> usize;
}

impl Spooled for Setup {
    fn spooling(self, memory_bytes: u64) -> Self {
        self.set("forwarder_storage_max_size_in_bytes", 64 << 20)
            .set("forwarder_retry_queue_payloads_max_size", memory_bytes)
    }

    fn records(&self) -> usize {
        let is_record = |(path, _): &&(PathBuf, Vec<u8>)| {
            path.extension().is_some_and(|extension| extension == "record")
        };
        self.files().iter().filter(is_record).count()
    }
}

/// Writes a row of `docs/reliability.md` where a long run can be read afterwards.
pub fn figure(scenario: &str, text: impl Display) {
    let row = format!("{scenario} | {text}");
    println!("{row}");
    if let Some(path) = std::env::var_os("FIGURES") {
        let file = File::options().create(true).append(true).open(path);
        writeln!(file.expect("a writable file"), "{row}").expect("written");
    }
}
