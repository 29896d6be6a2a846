//! Receiving: UDP and Unix datagrams on the main thread, streams on a thread per connection.

use std::fs;
use std::io::{self, ErrorKind, Read, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;
use whippet::bench::{Target, process_cpu};

use crate::batch::{Batch, DATAGRAM_BYTES_MAX};
use crate::line;
use crate::table::Table;
use crate::{Args, Mode, Wake};

/// What one worker received so far. It alone writes, so a plain store is enough and no processor
/// has to lock a bus for the sake of counting.
#[derive(Default)]
struct Counts {
    datagrams: AtomicU64,
    bytes: AtomicU64,
    lines: AtomicU64,
    refused: AtomicU64,
}

/// The counts of every worker there ever was.
static COUNTS: Mutex<Vec<&'static Counts>> = Mutex::new(Vec::new());

/// Nothing more arrived for so long: the queue is empty and the count final.
const QUIET: Duration = Duration::from_millis(50);

/// Receives until a signal ends the process; returns only with an error.
pub fn serve(args: &Args) -> anyhow::Result<()> {
    stop_on_signal(args)?;
    let mut worker = Worker::new(args.mode);
    match &args.target {
        Target::Udp(address) => {
            let socket = UdpSocket::bind(address)?;
            SockRef::from(&socket).set_recv_buffer_size(args.receive_buffer)?;
            say(&format!("udp://{}", socket.local_addr()?))?;
            receive(args, socket.as_raw_fd(), &mut worker)
        }
        Target::UnixDatagram(path) => {
            remove_stale(path)?;
            let socket = UnixDatagram::bind(path)?;
            say(&format!("unixgram://{}", path.display()))?;
            receive(args, socket.as_raw_fd(), &mut worker)
        }
        Target::UnixStream(path) => {
            remove_stale(path)?;
            let listener = UnixListener::bind(path)?;
            say(&format!("unixstream://{}", path.display()))?;
            accept(|| listener.accept().map(|(stream, _)| stream), args.mode, frames)
        }
        Target::Tcp(address) => {
            let listener = TcpListener::bind(address)?;
            say(&format!("tcp://{}", listener.local_addr()?))?;
            accept(|| listener.accept().map(|(stream, _)| stream), args.mode, lines)
        }
    }
}

fn receive(args: &Args, socket: RawFd, worker: &mut Worker) -> anyhow::Result<()> {
    let mut batch = Batch::new();
    if args.wake == Wake::Blocking && args.pause_ms == 0 {
        loop {
            batch.receive(socket, true)?;
            batch.datagrams().for_each(|datagram| worker.take(datagram));
        }
    }
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4);
    poll.registry().register(&mut SourceFd(&socket), Token(0), Interest::READABLE)?;
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        // The readiness is edge-triggered: whatever arrives during the pause makes the next poll
        // return at once, so one wake-up serves all of it.
        loop {
            match batch.receive(socket, false) {
                Ok(()) => batch.datagrams().for_each(|datagram| worker.take(datagram)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if args.pause_ms > 0 {
            std::thread::sleep(Duration::from_millis(args.pause_ms));
        }
    }
}

fn accept<S: Read + Send + 'static>(
    mut next: impl FnMut() -> io::Result<S>,
    mode: Mode,
    serve: fn(S, &mut Worker) -> io::Result<()>,
) -> anyhow::Result<()> {
    loop {
        let stream = next()?;
        std::thread::spawn(move || {
            // A broken connection ends its thread; what it held so far is counted.
            let _ended = serve(stream, &mut Worker::new(mode));
        });
    }
}

/// Payloads behind their length; each is one read of its own, like a small client's frames.
fn frames<S: Read>(mut stream: S, worker: &mut Worker) -> io::Result<()> {
    let mut buffer = vec![0; 4 * DATAGRAM_BYTES_MAX];
    let mut held = 0;
    loop {
        held += match stream.read(&mut buffer[held..])? {
            0 => return Ok(()),
            bytes => bytes,
        };
        let mut at = 0;
        while let Some(&length) = buffer[at..held].first_chunk::<4>() {
            let length = u32::from_le_bytes(length) as usize;
            if length > DATAGRAM_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            let Some(payload) = buffer[at + 4..held].get(..length) else { break };
            worker.take(payload);
            at += 4 + length;
        }
        buffer.copy_within(at..held, 0);
        held -= at;
    }
}

/// Lines up to the last newline that has arrived.
fn lines<S: Read>(mut stream: S, worker: &mut Worker) -> io::Result<()> {
    let mut buffer = vec![0; 4 * DATAGRAM_BYTES_MAX];
    let mut held = 0;
    loop {
        held += match stream.read(&mut buffer[held..])? {
            0 => return Ok(()),
            bytes => bytes,
        };
        let whole = memchr::memrchr(b'\n', &buffer[..held]).map_or(0, |at| at + 1);
        if whole == 0 && held == buffer.len() {
            return Err(ErrorKind::InvalidData.into());
        }
        worker.take(&buffer[..whole]);
        buffer.copy_within(whole..held, 0);
        held -= whole;
    }
}

struct Worker {
    mode: Mode,
    table: Table,
    counts: &'static Counts,
}

impl Worker {
    fn new(mode: Mode) -> Self {
        // Lives until the end, where it is read; a stream has one worker per connection.
        let counts = Box::leak(Box::default());
        COUNTS.lock().unwrap_or_else(PoisonError::into_inner).push(counts);
        Worker { mode, table: Table::default(), counts }
    }

    fn take(&mut self, datagram: &[u8]) {
        if self.mode == Mode::Work {
            let mut rest = datagram;
            let (mut lines, mut refused) = (0, 0);
            while let Some(line) = line::next(&mut rest) {
                lines += 1;
                if line.name.is_empty() {
                    refused += 1;
                } else {
                    self.table.add(self.table.hash(&line), &line);
                }
            }
            add(&self.counts.lines, lines);
            add(&self.counts.refused, refused);
        }
        add(&self.counts.bytes, datagram.len() as u64);
        add(&self.counts.datagrams, 1);
    }
}

/// For a count with one writer.
fn add(count: &AtomicU64, amount: u64) {
    count.store(count.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
}

fn total(field: fn(&Counts) -> &AtomicU64) -> u64 {
    let all = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().map(|counts| field(counts).load(Ordering::Relaxed)).sum()
}

fn stop_on_signal(args: &Args) -> anyhow::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
    ])?;
    let began = Instant::now();
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            finish(began);
        }
    });
    if args.until_stdin_closes {
        std::thread::spawn(move || {
            // Whatever is typed, and an error too, only matters as the end of the input.
            let _end = io::copy(&mut io::stdin(), &mut io::sink());
            finish(began);
        });
    }
    Ok(())
}

fn finish(began: Instant) -> ! {
    let mut seen = total(|counts| &counts.datagrams);
    loop {
        std::thread::sleep(QUIET);
        let now = total(|counts| &counts.datagrams);
        if now == seen {
            break;
        }
        seen = now;
    }
    let (lines, refused) = (total(|counts| &counts.lines), total(|counts| &counts.refused));
    let cpu = process_cpu(std::process::id()).unwrap_or_default();
    let per = |count: u64| cpu.as_nanos() as f64 / count.max(1) as f64;
    let text = format!(
        "datagrams {seen}, bytes {}; {:.2} s of CPU in {:.1} s\n",
        total(|counts| &counts.bytes),
        cpu.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    let work = format!(
        "lines    {lines} received = {} recorded + {refused} refused + 0 dropped\n\
         cpu      {:.1} ns per line, {:.1} ns per datagram\n",
        lines - refused,
        per(lines),
        per(seen)
    );
    let work =
        if lines > 0 { work } else { format!("cpu      {:.1} ns per datagram\n", per(seen)) };
    // The reader may be gone; the exit is clean all the same.
    let _unread = io::stdout().write_all((text + &work).as_bytes());
    std::process::exit(0)
}

fn say(bound: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "bound {bound}")?;
    out.flush()
}

/// A socket file without a listener is left from an earlier run.
fn remove_stale(path: &std::path::Path) -> io::Result<()> {
    let stale = path.exists()
        && UnixDatagram::unbound()?
            .connect(path)
            .is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
    if stale { fs::remove_file(path) } else { Ok(()) }
}
