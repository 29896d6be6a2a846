//! Stream connections of one lane: accepted anywhere, read here, each with its share per turn.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::Socket;

use super::arrival::SocketName;
use super::framing::{Frames, Framing, Lines};
use super::source::has_process;
use super::{Arrival, Incident, ListenerCounts, ListenerId, Receiver, Sender, Transport, sys};

/// Bytes read at once; one buffer for all connections of a lane.
const READ_BYTES: usize = 64 << 10;
/// Reads from one connection before the others get their turn.
const READS_PER_TURN: usize = 4;
/// Bytes of an oversize frame shown with its incident.
const BEGINNING_BYTES: usize = 64;

/// Connections open over all lanes, against their limit.
#[derive(Debug)]
pub(super) struct Places {
    open: AtomicUsize,
    /// The limit.
    pub(super) max: usize,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Places { open: AtomicUsize::new(0), max })
    }

    /// One place, if there is one left.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let below = |open: usize| (open < self.max).then_some(open + 1);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, below).ok()?;
        Some(Place(Arc::clone(self)))
    }
}

/// A place taken; dropping it frees it.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One accepted connection, on its way to a lane or in it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) listener: ListenerId,
    pub(super) transport: Transport,
    pub(super) socket: Socket,
    peer: Option<SocketName>,
    credentials: bool,
    framing: Framing,
    /// Waits for its turn.
    pub(super) ready: bool,
    // Set while the receiver has its bytes: what follows them is lost if it panics.
    in_receiver: bool,
    _place: Place,
}

/// What a turn left of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing more to read for now.
    Drained,
    /// It had its share and has more.
    More,
    /// It ended.
    Closed,
}

impl Connection {
    /// Must be read even during a pause. What a Unix stream may hold is the *sender's* buffer, and a
    /// client that counts its kernel overhead fills one of 32 KiB with some 40 short writes; a
    /// non-blocking client then drops. A TCP peer has megabytes.
    pub(super) fn is_urgent(&self) -> bool {
        self.transport == Transport::UnixStream
    }

    /// Wraps an accepted, non-blocking socket.
    pub(super) fn new(
        listener: ListenerId,
        transport: Transport,
        socket: Socket,
        peer: Option<SocketName>,
        credentials: bool,
        frame_bytes_max: usize,
        place: Place,
    ) -> Self {
        let framing = if transport == Transport::Tcp {
            Framing::Lines(Lines::new(frame_bytes_max))
        } else {
            Framing::Frames(Frames::new(frame_bytes_max))
        };
        let (ready, in_receiver) = (true, false);
        Connection {
            listener,
            transport,
            socket,
            peer,
            credentials,
            framing,
            ready,
            in_receiver,
            _place: place,
        }
    }

    /// Whether a panic of the receiver cost this connection the place where its next unit begins.
    pub(super) fn lost_its_place(&self) -> bool {
        self.in_receiver
    }

    /// Bytes of a unit that has begun.
    pub(super) fn pending(&self) -> usize {
        match &self.framing {
            Framing::Frames(frames) => frames.pending_bytes(),
            Framing::Lines(lines) => lines.pending_bytes(),
        }
    }

    /// Reads its share. Always up to WouldBlock or the end: a hang-up raises no second event.
    pub(super) fn drain<R: Receiver>(
        &mut self,
        buffer: &mut Vec<u8>,
        counts: &mut ListenerCounts,
        receiver: &mut R,
    ) -> Turn {
        if buffer.is_empty() {
            buffer.resize(READ_BYTES, 0);
        }
        for _ in 0..READS_PER_TURN {
            match self.read(buffer) {
                Ok((0, _)) => return self.end(None, counts, receiver),
                Ok((length, process)) => {
                    if !self.feed(&buffer[..length], process, counts, receiver) {
                        return Turn::Closed;
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Turn::Drained,
                    ErrorKind::Interrupted => {}
                    _ => return self.end(Some(&error), counts, receiver),
                },
            }
        }
        Turn::More
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<super::Credentials>)> {
        if self.credentials {
            return sys::read_with_credentials(&self.socket, buffer);
        }
        let read = (&self.socket).read(buffer)?;
        Ok((read, None))
    }

    /// Cuts what was read into units and hands them on; false when the connection cannot go on.
    fn feed<R: Receiver>(
        &mut self,
        input: &[u8],
        process: Option<super::Credentials>,
        counts: &mut ListenerCounts,
        receiver: &mut R,
    ) -> bool {
        let sender = match (&self.peer, process) {
            (_, Some(process)) => Sender::Process(process),
            (Some(name), None) => Sender::Internet(name),
            (None, None) => Sender::Unknown,
        };
        let missing = u64::from(self.credentials && !has_process(&sender));
        let (listener, transport) = (self.listener, self.transport);
        let arrival = Arrival { listener, transport, cut_bytes: 0 };
        self.in_receiver = true;
        receiver.begin_batch();
        let mut emit = |unit: &[u8]| {
            counts.frames += 1;
            counts.bytes += unit.len() as u64;
            counts.credentials_missing += missing;
            receiver.datagram(unit, &sender, arrival);
        };
        let (refused, lines_oversize) = match &mut self.framing {
            Framing::Frames(frames) => (frames.feed(input, &mut emit).err(), 0),
            Framing::Lines(lines) => (None, lines.feed(input, &mut emit)),
        };
        receiver.end_batch();
        self.in_receiver = false;
        counts.frames_oversize += lines_oversize + u64::from(refused.is_some());
        for _ in 0..lines_oversize {
            receiver.incident(listener, &Incident::LineOversize);
        }
        if let Some(refused) = refused {
            let beginning = &refused.beginning[..refused.beginning.len().min(BEGINNING_BYTES)];
            let length = refused.length;
            receiver.incident(listener, &Incident::FrameOversize { length, beginning });
        }
        refused.is_none()
    }

    /// The peer closed, or the connection broke. A last TCP line without newline counts if the peer
    /// finished properly; a frame that is not whole never does.
    fn end<R: Receiver>(
        &mut self,
        error: Option<&io::Error>,
        counts: &mut ListenerCounts,
        receiver: &mut R,
    ) -> Turn {
        if let (Framing::Lines(lines), None) = (&mut self.framing, error) {
            let mut line = lines.finish();
            if !line.is_empty() {
                line.push(b'\n');
                self.framing = Framing::Lines(Lines::new(line.len()));
                self.feed(&line, None, counts, receiver);
            }
        }
        if let Some(error) = error {
            counts.read_errors += 1;
            receiver.incident(self.listener, &Incident::Failed(error));
        }
        let bytes = self.pending();
        if bytes > 0 {
            counts.frames_cut += 1;
            receiver.incident(self.listener, &Incident::FrameCut { bytes });
        }
        Turn::Closed
    }
}
