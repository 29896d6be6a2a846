//! A lane's poll loop: wait, drain, hand on, pause.
//!
//! Clever: edge-triggered polling wakes on every arrival even of a socket that waits to be read, so a
//! pause cannot sleep on the poll that holds all sockets. It sleeps on a second one, which holds only
//! the waker and the urgent sockets (Unix datagrams, whose senders block, and UDP sockets with a small
//! buffer). Urgent sockets are registered in both; an event left behind in the one that did not
//! handle it is not reported once the socket is empty. When touching this file: every socket that was
//! not read to its end must be in `ready`, no further event will report its data.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::arrival::SocketName;
use super::batch::Batch;
use super::connections::{Connection, Places, Turn};
use super::handle::{INBOX, LaneHandle, MAIL, Polls, STOP, WAKE};
use super::pause::{BUFFER_BYTES_MIN, Pacer, STREAM_BUFFER_BYTES};
use super::source::Source;
use super::watched_file::{Look, WatchedFile};
use super::{Incident, ListenerCounts, ListenerId, Receiver, Transport};
use crate::clock::Clock;

/// Tokens from here on are connections, below are bound sockets.
const FIRST_CONNECTION: usize = 1 << 20;
/// Events taken per poll; more wait for the next turn.
const EVENTS: usize = 256;
/// Connections accepted from one listener per turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Least time between two ticks, so that a receiver whose deadline does not move cannot make the lane
/// spin.
const TICK_GAP: Duration = Duration::from_millis(1);
/// Turns in which an old socket is read before it is closed.
const READ_OUT_TURNS: usize = 64;
/// How often socket files are looked at: at every tick, but not more often than the first, and not
/// less often than the second.
const LOOK_GAP: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Why [`Lane::run`] returned.
#[derive(Debug)]
pub enum LaneEnd {
    /// [`LaneHandle::stop`] was called. `drained`: every socket was read to its end.
    Stopped {
        /// False when the time for draining was not enough.
        drained: bool,
    },
    /// The poll failed: the lane cannot go on.
    Failed(io::Error),
}

/// What a lane must know of the settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneLimits {
    pub(super) datagram_bytes_max: usize,
    pub(super) connections_max: usize,
    pub(super) pause: Duration,
}

/// The sockets of one receive thread and the loop that reads them.
///
/// Belongs to the supervisor of the thread: when the receiver panics out of [`Lane::run`], sockets,
/// connections and the rest of the batch in hand are still here, and `run` can be called again. The
/// unit whose handling panicked is not handed on again; a connection interrupted in the middle of a
/// read is closed and counted as cut.
pub struct Lane {
    main: Poll,
    pause: Poll,
    events: Events,
    sources: Vec<Source>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    ready: Vec<usize>,
    turn: Vec<usize>,
    batch: Batch,
    /// Index of the source whose datagrams are in the batch.
    in_hand: Option<usize>,
    stream_buffer: Vec<u8>,
    counts: Vec<ListenerCounts>,
    handle: LaneHandle,
    peers: Arc<[LaneHandle]>,
    next_peer: Arc<AtomicUsize>,
    places: Arc<Places>,
    files: Vec<WatchedFile>,
    pacer: Pacer,
    limits: LaneLimits,
    clock: Clock,
    drained_at: Duration,
    ticked_at: Option<Duration>,
    /// When the socket files were last looked at.
    looked_at: Duration,
}

/// Builds the lanes around bound sockets.
pub(super) fn lanes_of(
    sources: Vec<Vec<Source>>,
    files: Vec<WatchedFile>,
    listeners: &[Transport],
    limits: LaneLimits,
) -> io::Result<Vec<Lane>> {
    let polls = sources.iter().map(|_| Polls::new()).collect::<io::Result<Vec<_>>>()?;
    let peers: Arc<[LaneHandle]> = polls.iter().map(|polls| polls.handle.clone()).collect();
    let (next_peer, places) = (Arc::default(), Places::new(limits.connections_max));
    let mut files = Some(files);
    let mut lanes = Vec::with_capacity(sources.len());
    for (polls, sources) in polls.into_iter().zip(sources) {
        let id = |i: usize| ListenerId(u16::try_from(i).unwrap_or(u16::MAX));
        let counts = listeners.iter().enumerate();
        let mut lane = Lane {
            main: polls.main,
            pause: polls.pause,
            events: Events::with_capacity(EVENTS),
            sources,
            connections: Vec::new(),
            free: Vec::new(),
            ready: Vec::new(),
            turn: Vec::new(),
            batch: Batch::new(limits.datagram_bytes_max),
            in_hand: None,
            stream_buffer: Vec::new(),
            counts: counts.map(|(i, &t)| ListenerCounts::new(id(i), t)).collect(),
            handle: polls.handle,
            peers: Arc::clone(&peers),
            next_peer: Arc::clone(&next_peer),
            places: Arc::clone(&places),
            files: files.take().unwrap_or_default(),
            pacer: Pacer::new(limits.pause),
            limits,
            clock: Clock::wall(),
            drained_at: Duration::ZERO,
            ticked_at: None,
            looked_at: Duration::ZERO,
        };
        lane.register_sources()?;
        lanes.push(lane);
    }
    Ok(lanes)
}

impl Lane {
    /// A handle to this lane, for other threads.
    #[must_use]
    pub fn handle(&self) -> LaneHandle {
        self.handle.clone()
    }

    /// What this lane counted, one entry per listener of [`Bound`](super::Bound).
    #[must_use]
    pub fn counts(&self) -> &[ListenerCounts] {
        &self.counts
    }

    /// Reads the kernel's drop counters of this lane's sockets into [`Lane::counts`]. The lane does
    /// it before every tick and before it returns.
    pub fn refresh_kernel_drops(&mut self) {
        let dropped = self.count_kernel_drops();
        self.pacer.suspend(dropped > 0);
    }

    /// Reads the drop counters; how many were dropped since the last read.
    fn count_kernel_drops(&mut self) -> u64 {
        let mut dropped = 0;
        for source in &mut self.sources {
            let new = u64::from(source.new_kernel_drops());
            self.counts[usize::from(source.listener.0)].kernel_drops += new;
            dropped += new;
        }
        dropped
    }

    /// Receives until stopped. Idle, it sleeps until the receiver's deadline.
    ///
    /// # Panics
    /// Only if the receiver does; see [`Lane`] for what can be done then.
    pub fn run<R: Receiver>(&mut self, receiver: &mut R) -> LaneEnd {
        self.recover(receiver);
        loop {
            let flags = self.handle.take_flags();
            if flags & INBOX != 0 {
                self.take_inbox(receiver);
            }
            if flags & STOP != 0 {
                return self.finish(receiver);
            }
            if flags & MAIL != 0 && receiver.mail(&mut self.counts) {
                self.handle.mail();
            }
            if flags & WAKE != 0 {
                if self.count_kernel_drops() > 0 {
                    self.pacer.suspend(true);
                }
                receiver.woken(&self.counts);
            }
            let wait = self.tick_when_due(receiver).min(self.look_when_due(receiver));
            if let Err(error) = self.wait(wait) {
                return LaneEnd::Failed(error);
            }
            self.serve_ready(receiver);
            if self.ready.is_empty()
                && let Err(error) = self.pause_after_drain(receiver)
            {
                return LaneEnd::Failed(error);
            }
        }
    }

    /// Picks up where a panic left the last run; all sockets are looked at once.
    fn recover<R: Receiver>(&mut self, receiver: &mut R) {
        self.drained_at = self.clock.monotonic();
        self.looked_at = self.drained_at;
        self.turn.clear();
        self.mark_all();
        for slot in 0..self.connections.len() {
            let found = self.connections[slot].as_ref().filter(|found| found.lost_its_place());
            if let Some((listener, bytes)) = found.map(|found| (found.listener, found.pending())) {
                self.counts[usize::from(listener.0)].frames_cut += 1;
                self.close(slot);
                receiver.incident(listener, &Incident::FrameCut { bytes });
            }
        }
        if let Some(index) = self.in_hand {
            let source = &self.sources[index];
            let counts = &mut self.counts[usize::from(source.listener.0)];
            source.deliver(&mut self.batch, counts, receiver);
        }
    }

    /// Calls the receiver's tick when its deadline passed; returns how long to wait at most.
    fn tick_when_due<R: Receiver>(&mut self, receiver: &mut R) -> Duration {
        let wait = receiver.deadline();
        if !wait.is_zero() {
            return wait;
        }
        let now = self.clock.monotonic();
        let since = self.ticked_at.map_or(TICK_GAP, |ticked| now.saturating_sub(ticked));
        if since < TICK_GAP {
            return TICK_GAP - since;
        }
        self.ticked_at = Some(now);
        self.refresh_kernel_drops();
        receiver.tick(&self.counts);
        // Whatever failed and was left alone (an accept without descriptors) is tried again now.
        self.mark_all();
        receiver.deadline()
    }

    /// Looks after the socket files; returns how long to wait at most.
    fn look_when_due<R: Receiver>(&mut self, receiver: &mut R) -> Duration {
        if self.files.is_empty() {
            return Duration::MAX;
        }
        let now = self.clock.monotonic();
        let since = now.saturating_sub(self.looked_at);
        let ticked = self.ticked_at.is_some_and(|ticked| ticked > self.looked_at);
        if since < LOOK_GAP.0 || (since < LOOK_GAP.1 && !ticked) {
            return LOOK_GAP.1.saturating_sub(since);
        }
        self.looked_at = now;
        for at in 0..self.files.len() {
            let listener = self.files[at].listener;
            let known = self.source_of(listener, false).map(|at| self.sources[at].transport);
            let is_stream = known.is_some_and(Transport::is_stream);
            if !self.files[at].is_in_place()
                && let Some(index) = self.slot_to_reuse(listener, is_stream)
            {
                // Before the new socket is bound: should the receiver panic, nothing is half done.
                self.read_out(index, receiver);
            }
            let file = &mut self.files[at];
            let look = file.look();
            self.counts[usize::from(listener.0)].socket_lost = u64::from(file.is_lost());
            match look {
                Look::Unchanged => {}
                Look::Lost(problem) => receiver.incident(listener, &Incident::SocketLost(&problem)),
                Look::BoundAgain(source) => self.replace(source, receiver),
            }
        }
        LOOK_GAP.1
    }

    /// Takes in a socket that was bound in the place of another. Clients that are connected to the
    /// old datagram socket can go on as long as it is open, so it stays until the next one retires;
    /// an old stream socket is closed, since no one can connect to it any more.
    fn replace<R: Receiver>(&mut self, source: Source, receiver: &mut R) {
        let (listener, is_stream) = (source.listener, source.transport.is_stream());
        let index = self.slot_to_reuse(listener, is_stream);
        if let Some(current) = self.source_of(listener, false).filter(|_| !is_stream) {
            self.sources[current].retired = true;
        }
        let index = match index {
            Some(index) => {
                self.sources[index] = source;
                index
            }
            None => {
                self.sources.push(source);
                self.sources.len() - 1
            }
        };
        if let Err(error) = self.register_source(index) {
            self.counts[usize::from(listener.0)].read_errors += 1;
            receiver.incident(listener, &Incident::Failed(&error));
            return;
        }
        self.counts[usize::from(listener.0)].bound_again += 1;
        receiver.incident(listener, &Incident::SocketBoundAgain);
        self.mark_all();
    }

    /// The source that the next one of its listener will replace.
    fn slot_to_reuse(&self, listener: ListenerId, is_stream: bool) -> Option<usize> {
        self.source_of(listener, !is_stream)
    }

    fn source_of(&self, listener: ListenerId, retired: bool) -> Option<usize> {
        self.sources.iter().position(|of| of.listener == listener && of.retired == retired)
    }

    /// Reads what a socket holds, a bounded number of turns, before it is closed.
    fn read_out<R: Receiver>(&mut self, index: usize, receiver: &mut R) {
        for _ in 0..READ_OUT_TURNS {
            self.sources[index].ready = false;
            self.ready.retain(|token| *token != index);
            if self.sources[index].transport.is_stream() {
                self.accept(index, receiver);
            } else {
                self.serve_datagrams(index, receiver);
            }
            if !self.ready.contains(&index) {
                return;
            }
        }
    }

    fn wait(&mut self, wait: Duration) -> io::Result<()> {
        let wait = if self.ready.is_empty() { wait } else { Duration::ZERO };
        poll(&mut self.main, &mut self.events, wait)?;
        for event in &self.events {
            let token = event.token().0;
            if let Some(ready) = readiness(&mut self.sources, &mut self.connections, token)
                && !std::mem::replace(ready, true)
            {
                self.ready.push(token);
            }
        }
        Ok(())
    }

    /// Gives every ready socket one turn. Those that have more stay ready.
    fn serve_ready<R: Receiver>(&mut self, receiver: &mut R) {
        std::mem::swap(&mut self.ready, &mut self.turn);
        for i in 0..self.turn.len() {
            let token = self.turn[i];
            if let Some(slot) = token.checked_sub(FIRST_CONNECTION) {
                self.serve_connection(slot, receiver);
            } else if self.sources[token].transport.is_stream() {
                self.accept(token, receiver);
            } else {
                self.serve_datagrams(token, receiver);
            }
        }
        self.turn.clear();
    }

    fn serve_datagrams<R: Receiver>(&mut self, index: usize, receiver: &mut R) {
        self.in_hand = Some(index);
        let source = &mut self.sources[index];
        let counts = &mut self.counts[usize::from(source.listener.0)];
        let (empty, (datagrams, bytes)) = source.drain(&mut self.batch, counts, receiver);
        source.ready = !empty;
        if !empty {
            self.ready.push(index);
        }
        if source.coalesced {
            self.pacer.note(datagrams, bytes, source.receive_buffer_bytes);
        }
    }

    fn serve_connection<R: Receiver>(&mut self, slot: usize, receiver: &mut R) {
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        let counts = &mut self.counts[usize::from(connection.listener.0)];
        let before = counts.bytes;
        let urgent = connection.is_urgent();
        let turn = connection.drain(&mut self.stream_buffer, counts, receiver);
        if !urgent {
            self.pacer.note(0, counts.bytes - before, STREAM_BUFFER_BYTES);
        }
        connection.ready = turn == Turn::More;
        match turn {
            Turn::More => self.ready.push(FIRST_CONNECTION + slot),
            Turn::Closed => self.close(slot),
            Turn::Drained => {}
        }
    }

    fn accept<R: Receiver>(&mut self, index: usize, receiver: &mut R) {
        for _ in 0..ACCEPTS_PER_TURN {
            let source = &self.sources[index];
            let (listener, transport) = (source.listener, source.transport);
            let accepted = source.socket.accept().and_then(|(socket, address)| {
                socket.set_nonblocking(true)?;
                Ok((socket, address.as_socket().map(SocketName::of)))
            });
            let counts = &mut self.counts[usize::from(listener.0)];
            match accepted {
                Ok((socket, peer)) => {
                    let Some(place) = self.places.take() else {
                        counts.connections_refused += 1;
                        let connections_max = self.places.max;
                        let incident = Incident::ConnectionRefused { connections_max };
                        receiver.incident(listener, &incident);
                        continue;
                    };
                    counts.connections_accepted += 1;
                    let (asked, bytes_max) = (source.credentials, self.limits.datagram_bytes_max);
                    let connection =
                        Connection::new(listener, transport, socket, peer, asked, bytes_max, place);
                    self.place(connection, receiver);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.sources[index].ready = false;
                        return;
                    }
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        counts.read_errors += 1;
                        receiver.incident(listener, &Incident::Failed(&error));
                        // Out of descriptors, most likely: tried again at the next event or tick.
                        self.sources[index].ready = false;
                        return;
                    }
                },
            }
        }
        self.ready.push(index);
    }

    /// Gives a new connection to the lane whose turn it is.
    fn place<R: Receiver>(&mut self, connection: Connection, receiver: &mut R) {
        let peer = self.next_peer.fetch_add(1, Ordering::Relaxed) % self.peers.len();
        if self.peers[peer].is(&self.handle) {
            self.adopt(connection, receiver);
        } else {
            self.peers[peer].hand_over(connection);
        }
    }

    fn take_inbox<R: Receiver>(&mut self, receiver: &mut R) {
        let new = self.handle.take_inbox();
        for connection in new {
            self.adopt(connection, receiver);
        }
    }

    fn adopt<R: Receiver>(&mut self, connection: Connection, receiver: &mut R) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let token = FIRST_CONNECTION + slot;
        let (listener, fd) = (connection.listener, connection.socket.as_raw_fd());
        let register = |poll: &Poll| {
            poll.registry().register(&mut SourceFd(&fd), Token(token), Interest::READABLE)
        };
        let mut registered = register(&self.main);
        if connection.is_urgent() && registered.is_ok() {
            registered = register(&self.pause);
        }
        if let Err(error) = registered {
            self.counts[usize::from(listener.0)].read_errors += 1;
            receiver.incident(listener, &Incident::Failed(&error));
            self.free.push(slot);
            return;
        }
        self.counts[usize::from(listener.0)].connections_open += 1;
        self.connections[slot] = Some(connection);
        self.ready.push(token);
    }

    /// Closing the descriptor takes it out of the poll; an event on its way finds an empty slot, or a
    /// newer connection that then has nothing to read.
    fn close(&mut self, slot: usize) {
        if let Some(connection) = self.connections[slot].take() {
            self.counts[usize::from(connection.listener.0)].connections_open -= 1;
            self.free.push(slot);
        }
    }

    fn pause_after_drain<R: Receiver>(&mut self, receiver: &R) -> io::Result<()> {
        if !self.pacer.is_on() {
            return Ok(());
        }
        let now = self.clock.monotonic();
        let gathered = now.saturating_sub(std::mem::replace(&mut self.drained_at, now));
        match self.pacer.after_drain(gathered, receiver.deadline()) {
            Some(pause) => poll(&mut self.pause, &mut self.events, pause),
            None => Ok(()),
        }
    }

    /// Reads what is queued, new connections included, until all is empty or the time is over. The
    /// socket files go first, so that no new client finds us.
    fn finish<R: Receiver>(&mut self, receiver: &mut R) -> LaneEnd {
        self.files.clear();
        let end = self.clock.monotonic().saturating_add(self.handle.drain());
        self.mark_all();
        while !self.ready.is_empty() && self.clock.monotonic() < end {
            self.serve_ready(receiver);
        }
        // Bounded by whoever sent it, and already answered.
        while receiver.mail(&mut self.counts) {}
        self.refresh_kernel_drops();
        LaneEnd::Stopped { drained: self.ready.is_empty() }
    }

    fn mark_all(&mut self) {
        self.ready.clear();
        for (token, source) in self.sources.iter_mut().enumerate() {
            source.ready = true;
            self.ready.push(token);
        }
        for (slot, connection) in self.connections.iter_mut().enumerate() {
            if let Some(connection) = connection {
                connection.ready = true;
                self.ready.push(FIRST_CONNECTION + slot);
            }
        }
    }

    fn register_sources(&mut self) -> io::Result<()> {
        (0..self.sources.len()).try_for_each(|index| self.register_source(index))
    }

    fn register_source(&mut self, index: usize) -> io::Result<()> {
        let source = &mut self.sources[index];
        let big = source.receive_buffer_bytes >= BUFFER_BYTES_MIN;
        source.coalesced = source.transport == Transport::Udp && big && self.pacer.is_on();
        let urgent = !source.coalesced && !source.transport.is_stream();
        let fd = source.socket.as_raw_fd();
        let register = |poll: &Poll| {
            poll.registry().register(&mut SourceFd(&fd), Token(index), Interest::READABLE)
        };
        register(&self.main)?;
        if urgent { register(&self.pause) } else { Ok(()) }
    }
}

/// Polls; an interrupting signal counts as a wake-up.
fn poll(poll: &mut Poll, events: &mut Events, wait: Duration) -> io::Result<()> {
    match poll.poll(events, Some(wait)) {
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        result => result,
    }
}

/// The ready mark of the socket behind `token`, if there still is one.
fn readiness<'a>(
    sources: &'a mut [Source],
    connections: &'a mut [Option<Connection>],
    token: usize,
) -> Option<&'a mut bool> {
    match token.checked_sub(FIRST_CONNECTION) {
        None => sources.get_mut(token).map(|source| &mut source.ready),
        Some(slot) => connections.get_mut(slot)?.as_mut().map(|connection| &mut connection.ready),
    }
}
