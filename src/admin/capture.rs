//! `/capture`: what the server receives from now on, as a capture file that is written while it is
//! read. Nothing is kept and nothing is written to disk here.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::state::AdminState;
use crate::capture::{self, Process, Record, Summary};
use crate::http::{Request, Response};
use crate::net::LaneHandle;
use crate::watch::{CapturedBatch, Capturing};

/// When a request does not say how long: as the Agent's command.
const TIME: Duration = Duration::from_secs(60);
/// Longest capture.
const TIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// When a request does not say how many bytes.
const BYTES: u64 = 1 << 30;
/// Between two signs of life on a stream without records.
const HEARTBEAT: Duration = Duration::from_millis(250);

/// `?seconds=60&bytes=1073741824`: ends at whatever comes first.
pub(super) fn page(state: &AdminState, request: &Request) -> Response {
    let time = match request.query("seconds").map(str::parse::<f64>) {
        None => TIME,
        Some(Ok(seconds)) if seconds > 0.0 => {
            Duration::try_from_secs_f64(seconds).unwrap_or(TIME_MAX).min(TIME_MAX)
        }
        Some(_) => return Response::text(400, "seconds: use a number above 0\n"),
    };
    let bytes_max = match request.query("bytes").map(str::parse::<u64>) {
        None => BYTES,
        Some(Ok(bytes @ 1..)) => bytes,
        Some(_) => return Response::text(400, "bytes: use a whole number above 0\n"),
    };
    let Some(capturing) = state.watch.captures.start() else {
        return Response::text(409, "a capture is running already; wait until it ends\n");
    };
    let listeners = state.listeners.iter();
    let stream = CaptureStream {
        capturing,
        lanes: state.lanes.clone(),
        listeners: listeners
            .map(|found| format!("{} {}", found.transport, found.address).into_bytes())
            .collect(),
        summary: Summary::default(),
        bytes_left: bytes_max,
        out: Vec::new(),
    };
    let end = Instant::now() + time;
    Response::stream("application/octet-stream", Box::new(move |out| stream.write(end, out)))
}

struct CaptureStream {
    capturing: Capturing,
    lanes: Vec<LaneHandle>,
    listeners: Vec<Vec<u8>>,
    summary: Summary,
    /// Bytes of the file that may still be written.
    bytes_left: u64,
    /// What is written next; kept for its memory.
    out: Vec<u8>,
}

impl CaptureStream {
    fn write(mut self, end: Instant, to: &mut dyn Write) -> io::Result<()> {
        capture::put_header(&mut self.out);
        self.hand_on(to)?;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.bytes_left == 0 {
                break;
            }
            match self.capturing.next(left.min(HEARTBEAT)) {
                Some(batch) => {
                    self.add(&batch);
                    self.capturing.recycle(batch);
                }
                None => capture::put_heartbeat(&mut self.out),
            }
            self.hand_on(to)?;
        }
        let mut rest = Vec::new();
        self.capturing.finish(&self.lanes, |batch| rest.push(batch));
        rest.iter().for_each(|batch| self.add(batch));
        (self.summary.missed_records, self.summary.missed_bytes) = self.capturing.missed();
        capture::put_end(&mut self.out, self.summary);
        self.hand_on(to)
    }

    /// Takes a batch as far as there is room for it.
    fn add(&mut self, batch: &CapturedBatch) {
        for captured in batch.iter() {
            if self.bytes_left == 0 {
                return;
            }
            let before = self.out.len();
            let credentials = captured.sender.credentials();
            let address = captured.sender.address().map(|address| address.to_string());
            let listener = self.listeners.get(usize::from(captured.listener));
            capture::put_record(
                &mut self.out,
                &Record {
                    at: captured.at,
                    payload: captured.payload,
                    listener: listener.map(Vec::as_slice).unwrap_or_default(),
                    sender: address.as_deref().unwrap_or_default().as_bytes(),
                    process: credentials.map(|found| Process {
                        pid: found.pid,
                        uid: found.uid,
                        gid: found.gid,
                    }),
                    cut_bytes: captured.cut_bytes as u64,
                },
            );
            let written = (self.out.len() - before) as u64;
            if written > self.bytes_left {
                // The file ends before the limit, never behind it.
                self.out.truncate(before);
                self.bytes_left = 0;
                return;
            }
            self.bytes_left -= written;
            self.summary.records += 1;
            self.summary.payload_bytes += captured.payload.len() as u64;
        }
    }

    fn hand_on(&mut self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.out)?;
        self.out.clear();
        // Payloads rarely end with the newline that would send them off.
        to.flush()
    }
}
