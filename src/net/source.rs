//! A bound socket in a lane's hands: datagrams come out of it, or connections.

use std::io;

use memchr::memrchr;
use socket2::Socket;

use super::batch::{Batch, Received};
use super::{Arrival, Incident, ListenerCounts, ListenerId, Receiver, Sender, Transport, sys};

/// Most datagrams read from one socket before the others, the clock and commands get their turn.
const DATAGRAMS_PER_TURN: usize = 1024;

/// A datagram socket or a listening one.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) listener: ListenerId,
    pub(super) transport: Transport,
    pub(super) socket: Socket,
    /// What the kernel granted (not its doubled figure).
    pub(super) receive_buffer_bytes: usize,
    /// Whether credentials are expected with each datagram.
    pub(super) credentials: bool,
    /// May wait during a pause.
    pub(super) coalesced: bool,
    /// Waits for its turn.
    pub(super) ready: bool,
    /// Another socket was bound in its place.
    pub(super) retired: bool,
    drops_seen: u32,
    /// Datagrams and bytes since the socket was last found empty.
    undrained: (u64, u64),
}

/// What a bound socket is set up with.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceSettings {
    /// Receive buffer to ask for, in bytes; 0 leaves the system's default.
    pub(super) receive_buffer_bytes: usize,
    /// Ask Unix sockets for the process of each sender.
    pub(super) credentials: bool,
}

impl Source {
    /// Sets a bound socket up: non-blocking, with the receive buffer asked for, and with credentials
    /// where they are asked for and to be had; the second value says why they are not. Drops from
    /// before are not counted.
    pub(super) fn set_up(
        listener: ListenerId,
        transport: Transport,
        socket: Socket,
        settings: SourceSettings,
    ) -> io::Result<(Self, Option<io::Error>)> {
        socket.set_nonblocking(true)?;
        let receive_buffer_bytes = grow_receive_buffer(&socket, settings.receive_buffer_bytes);
        let asks = settings.credentials
            && matches!(transport, Transport::UnixDatagram | Transport::UnixStream);
        let refused = asks.then(|| pass_credentials(&socket).err()).flatten();
        let drops_seen = sys::kernel_drops(&socket).unwrap_or(0);
        let source = Source {
            listener,
            transport,
            socket,
            receive_buffer_bytes,
            credentials: asks && refused.is_none(),
            coalesced: false,
            ready: false,
            retired: false,
            drops_seen,
            undrained: (0, 0),
        };
        Ok((source, refused))
    }

    /// Datagrams the kernel dropped since the last call. Only UDP drops; Unix senders wait instead.
    pub(super) fn new_kernel_drops(&mut self) -> u32 {
        if self.transport != Transport::Udp {
            return 0;
        }
        let now = sys::kernel_drops(&self.socket).unwrap_or(self.drops_seen);
        now.wrapping_sub(std::mem::replace(&mut self.drops_seen, now))
    }

    /// Reads datagrams until the socket is empty or had its share. Returns whether it is empty, and
    /// the datagrams and bytes since it was last empty.
    pub(super) fn drain<R: Receiver>(
        &mut self,
        batch: &mut Batch,
        counts: &mut ListenerCounts,
        receiver: &mut R,
    ) -> (bool, (u64, u64)) {
        let before = (counts.datagrams, counts.bytes);
        let empty = self.read_turn(batch, counts, receiver);
        self.undrained.0 += counts.datagrams - before.0;
        self.undrained.1 += counts.bytes - before.1;
        let gathered = self.undrained;
        if empty {
            self.undrained = (0, 0);
        }
        (empty, gathered)
    }

    fn read_turn<R: Receiver>(
        &self,
        batch: &mut Batch,
        counts: &mut ListenerCounts,
        receiver: &mut R,
    ) -> bool {
        let mut read = 0;
        while read < DATAGRAMS_PER_TURN {
            match batch.receive(&self.socket) {
                Ok(received) => {
                    self.deliver(batch, counts, receiver);
                    read += received;
                    // A short batch met the end of the queue; what came since raises a new event.
                    if received < batch.slots() {
                        return true;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    counts.read_errors += 1;
                    receiver.incident(self.listener, &Incident::Failed(&error));
                    // Not tried again before the next event or tick: an error that stays must not spin.
                    return true;
                }
            }
        }
        false
    }

    /// Hands on what is left of the batch: all of it, or after a panic what the panic left.
    pub(super) fn deliver<R: Receiver>(
        &self,
        batch: &mut Batch,
        counts: &mut ListenerCounts,
        receiver: &mut R,
    ) {
        receiver.begin_batch();
        while let Some(Received { bytes, beyond, sender }) = batch.take() {
            let kept = if beyond == 0 { bytes.len() } else { whole_lines(bytes) };
            let cut_bytes = bytes.len() - kept + beyond;
            counts.datagrams += 1;
            counts.bytes += kept as u64;
            if beyond > 0 {
                counts.datagrams_truncated += 1;
                counts.bytes_truncated += cut_bytes as u64;
            }
            if self.credentials && !has_process(&sender) {
                counts.credentials_missing += 1;
            }
            let (listener, transport) = (self.listener, self.transport);
            receiver.datagram(&bytes[..kept], &sender, Arrival { listener, transport, cut_bytes });
        }
        receiver.end_batch();
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn pass_credentials(socket: &Socket) -> io::Result<()> {
    socket.set_passcred(true)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn pass_credentials(_socket: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Asks for `bytes` and returns what was granted, undoubled.
fn grow_receive_buffer(socket: &Socket, bytes: usize) -> usize {
    if bytes > 0 && sys::force_receive_buffer(socket, bytes).is_err() {
        // Refused or clamped: the value read back below shows it.
        let _ = socket.set_recv_buffer_size(bytes);
    }
    let reported = socket.recv_buffer_size().unwrap_or(0);
    if cfg!(any(target_os = "linux", target_os = "android")) { reported / 2 } else { reported }
}

/// Length of the part of a cut datagram that can be trusted: up to its last newline.
/// Differs: the Agent reads the cut line as if it were whole, and may record a wrong value or tag.
fn whole_lines(bytes: &[u8]) -> usize {
    memrchr(b'\n', bytes).map_or(0, |end| end + 1)
}

/// Whether the kernel named a process; pid 0 is a sender it cannot name to us.
pub(super) fn has_process(sender: &Sender<'_>) -> bool {
    sender.credentials().is_some_and(|credentials| credentials.pid > 0)
}
