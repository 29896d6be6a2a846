//! The file in which a run leaves to the next one what it posted of its open bucket.

use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ahash::RandomState;
use siphasher::sip::SipHasher13;

use crate::context::Rules;
use crate::flush::handover::HandOver;
use crate::text::grouped;

/// A longer file is not ours.
const FILE_BYTES_MAX: u64 = 65 << 20;

/// The file of one way to post.
#[derive(Debug)]
pub(super) struct HandOverFile {
    path: PathBuf,
    interval: u64,
}

impl HandOverFile {
    /// The file below `directory` for runs that post under this host, these tags and this interval:
    /// what another configuration posts are other series.
    pub fn new(directory: &Path, rules: &Rules, interval: u64) -> Self {
        // A fixed key: the next process has to find it.
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        let texts = std::iter::once(&rules.default_host).chain(&rules.common_tags);
        texts.for_each(|text| {
            hasher.write_usize(text.len());
            hasher.write(text);
        });
        hasher.write_u64(interval);
        let name = format!("handover-{:016x}", hasher.finish());
        HandOverFile { path: directory.join(name), interval }
    }

    /// What the last run left for buckets from that of `now` on. A file that cannot be used is removed
    /// with a warning.
    pub fn read(&self, now: u64, state: &RandomState) -> HandOver {
        let path = self.path.display();
        let bytes = match read_bounded(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return HandOver::default(),
            Err(error) => {
                warn_unusable(&path.to_string(), &error.to_string());
                return HandOver::default();
            }
        };
        match HandOver::decode(&bytes, now - now % self.interval, state) {
            Ok(handover) => {
                if !handover.is_empty() {
                    let series = grouped(handover.len() as u64);
                    tracing::info!(
                        target: "flush",
                        "the last run posted {series} metrics of a bucket that is not over; what arrives is added to them"
                    );
                }
                handover
            }
            Err(error) => {
                warn_unusable(&path.to_string(), &error.to_string());
                let _ = fs::remove_file(&self.path);
                HandOver::default()
            }
        }
    }

    /// Writes what the next run has to know, or removes the file if that is nothing.
    pub fn write(&self, handover: &HandOver, now: u64) {
        let (bytes, left_out) = handover.encode(now, self.interval);
        let path = self.path.display();
        if left_out > 0 {
            let left_out = grouped(left_out as u64);
            tracing::warn!(
                target: "flush",
                "{path}: {left_out} metrics of the open bucket do not fit; a restart within the next seconds may overwrite their last values"
            );
        }
        if bytes.is_empty() {
            // Mostly there is none; one that stays is too old for the next run.
            let _ = fs::remove_file(&self.path);
            return;
        }
        if let Err(error) = self.replace(&bytes) {
            let series = grouped(handover.len() as u64);
            tracing::warn!(
                target: "flush",
                "{path}: {error}; a restart within {} s may overwrite the last values of {series} metrics; make run_path writable",
                self.interval
            );
        }
    }

    /// Whole or not at all: a process killed at any byte leaves the old file.
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let unfinished = self.path.with_extension("tmp");
        // Metric names and tags may be confidential.
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&unfinished, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn warn_unusable(path: &str, why: &str) {
    tracing::warn!(
        target: "flush",
        "{path}: {why}; what the last run posted of a bucket that is not over may be overwritten"
    );
}
