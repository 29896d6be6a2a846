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

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// What a batch type makes of `datagrams`, one after the other: bytes and whether they were cut.
    macro_rules! received_by {
        ($batch:ty, $datagrams:expr) => {{
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            for datagram in $datagrams {
                socket.send_to(datagram, address).unwrap();
            }
            let socket = Socket::from(socket);
            socket.set_nonblocking(true).unwrap();
            let (mut batch, mut out) = (<$batch>::new(8), Vec::new());
            while batch.receive(&socket).is_ok() {
                while let Some(received) = batch.take() {
                    assert!(received.sender.credentials().is_none());
                    out.push((received.bytes.to_vec(), received.beyond > 0));
                }
            }
            out
        }};
    }

    #[test]
    fn plain_receive_agrees_with_batched_receive() {
        let datagrams: [&[u8]; 6] = [b"a:1|c", b"", b"12345678", b"123456789", &[7; 500], b"z"];
        let plain = received_by!(Batch, datagrams);
        assert_eq!(plain, received_by!(crate::net::batch::Batch, datagrams));
        assert_eq!(Batch::new(8).slots(), 1);
        let cut: Vec<bool> = plain.iter().map(|(_, cut)| *cut).collect();
        assert_eq!(cut, [false, false, false, true, true, false]);
    }
}
