//! A capture file sent to a socket, with its timing.
//!
//! The receiver sees this process as the sender: a process may not speak in the name of another.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use super::file::CaptureFile;
use crate::cli::exit::FAILED;
use crate::cli::send::target::{Sink, Target};
use crate::text::{bytes, grouped, printable_lines};

/// The longest UDP datagram over IPv4: 65,535 bytes less the heads of IP and UDP.
const UDP_BYTES_MAX: usize = 65_507;

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Speed {
    /// So many times as fast as captured.
    Times(f64),
    /// Without waiting.
    Max,
}

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Speed::Max),
            Ok(times) if times > 0.0 && times.is_finite() => Ok(Speed::Times(times)),
            _ => Err("use a number above 0, or max"),
        }
    }
}

impl Speed {
    /// When something is sent that was captured `after` the first datagram.
    fn due(self, after: Duration) -> Duration {
        match self {
            Speed::Max => Duration::ZERO,
            Speed::Times(times) => {
                let seconds = after.as_secs_f64() / times;
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
            }
        }
    }
}

/// What to send, and where.
pub(super) struct Live {
    pub path: PathBuf,
    /// At most so many.
    pub records: u64,
    pub target: Target,
    pub speed: Speed,
    /// How often; 0 for ever.
    pub loops: u64,
    pub verbose: bool,
}

#[derive(Default)]
struct Sent {
    datagrams: u64,
    bytes: u64,
    /// Larger than the socket takes.
    too_long: u64,
}

impl Live {
    /// Sends all of it. Exit code 1 when something could not be sent.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        // A file that cannot be read is reported before a target that does not answer.
        let mut file = CaptureFile::open(&self.path, self.records)?;
        let mut sink = self.target.open()?;
        let mut sent = Sent::default();
        let started = Instant::now();
        let mut round = 1;
        let ended = loop {
            if let Err(error) = self.send_all(&mut file, &mut sink, &mut sent) {
                break Err(error);
            }
            if round == self.loops || sent.datagrams + sent.too_long == 0 {
                break Ok(());
            }
            round += 1;
            file = CaptureFile::open(&self.path, self.records)?;
        };
        let finished = sink.finish().map_err(|error| self.target.explain(&error));
        self.report(&sent, started.elapsed(), &file);
        ended.and(finished)?;
        Ok(if sent.too_long > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
    }

    fn send_all(
        &self,
        file: &mut CaptureFile<'_>,
        sink: &mut Sink,
        sent: &mut Sent,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut first = None;
        while let Some(mut entry) = file.next()? {
            let after = entry.at.saturating_sub(*first.get_or_insert(entry.at));
            let wait = self.speed.due(after).saturating_sub(started.elapsed());
            if !wait.is_zero() {
                thread::sleep(wait);
            }
            if matches!(sink, Sink::Tcp(_)) && !entry.payload.ends_with(b"\n") {
                // There the newline alone says where a line ends.
                entry.payload.push(b'\n');
            }
            if matches!(sink, Sink::Udp(_)) && entry.payload.len() > UDP_BYTES_MAX {
                sent.too_long += 1;
                continue;
            }
            match sink.send(&entry.payload) {
                Ok(()) => {
                    sent.datagrams += 1;
                    sent.bytes += entry.payload.len() as u64;
                    if self.verbose {
                        say(&format!("sent {} bytes", entry.payload.len()));
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => sent.too_long += 1,
                Err(error) => return Err(self.target.explain(&error)),
            }
        }
        Ok(())
    }

    fn report(&self, sent: &Sent, took: Duration, file: &CaptureFile<'_>) {
        say(&format!(
            "sent {} datagrams, {}, to {} in {:.1} s",
            grouped(sent.datagrams),
            bytes(usize::try_from(sent.bytes).unwrap_or(usize::MAX)),
            self.target,
            took.as_secs_f64()
        ));
        if sent.too_long > 0 {
            say(&format!(
                "left out {}: longer than the socket takes; send them to a Unix socket",
                grouped(sent.too_long)
            ));
        }
        if let Some(missed) = file.summary.map(|found| found.missed_records).filter(|n| *n > 0) {
            say(&format!("the capture itself missed {} datagrams", grouped(missed)));
        }
    }
}

/// On standard error.
pub(super) fn say(text: &str) {
    // Not `eprintln!`, which panics when no one reads standard error.
    let _ = writeln!(io::stderr(), "{}", printable_lines(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_divides_the_time_between_datagrams() {
        let due = |speed: &str, seconds| speed.parse::<Speed>().unwrap().due(seconds);
        assert_eq!(due("1", Duration::from_secs(6)), Duration::from_secs(6));
        assert_eq!(due("4", Duration::from_secs(6)), Duration::from_millis(1_500));
        assert_eq!(due("0.5", Duration::from_secs(6)), Duration::from_secs(12));
        assert_eq!(due("max", Duration::MAX), Duration::ZERO);
        assert_eq!(due("1e-300", Duration::from_secs(1)), Duration::MAX);
        for bad in ["0", "-1", "nan", "inf", "fast", ""] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }
}
