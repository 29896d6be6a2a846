//! Plain receive for systems without `recvmmsg`: one datagram per call, nothing unsafe.
//!
//! The sender stays unknown and a cut datagram is known by one spare byte, so the cut is "at least
//! one byte". On Linux it is compiled for tests only, as the twin of the batched receive.

use std::io::{self, Read};

use socket2::Socket;

use super::Sender;

/// Room for one datagram and a spare byte.
pub(super) struct Batch {
    slot_bytes: usize,
    buffer: Vec<u8>,
    length: Option<usize>,
}

/// One received datagram, borrowed from the batch.
pub(super) struct Received<'a> {
    /// What fits the slot.
    pub(super) bytes: &'a [u8],
    /// 1 if more did not fit.
    pub(super) beyond: usize,
    /// Unknown here.
    pub(super) sender: Sender<'a>,
}

impl Batch {
    /// Room for datagrams of up to `datagram_bytes` (0 is taken as 1).
    pub(super) fn new(datagram_bytes: usize) -> Self {
        let slot_bytes = datagram_bytes.max(1);
        Batch { slot_bytes, buffer: vec![0; slot_bytes + 1], length: None }
    }

    /// Datagrams one call can take.
    pub(super) fn slots(&self) -> usize {
        1
    }

    /// Receives one datagram.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is queued; otherwise what the system says.
    pub(super) fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        self.length = None;
        let mut socket = socket;
        self.length = Some(socket.read(&mut self.buffer)?);
        Ok(1)
    }

    /// The datagram, once.
    pub(super) fn take(&mut self) -> Option<Received<'_>> {
        let length = self.length.take()?;
        let kept = length.min(self.slot_bytes);
        let bytes = &self.buffer[..kept];
        Some(Received { bytes, beyond: length - kept, sender: Sender::Unknown })
    }
}
