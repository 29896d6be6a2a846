//! A body that a thread writes while the client reads it.

use std::io::{self, LineWriter, Write};
use std::sync::Arc;
use std::task::Poll;

use axum::body::{Body, Bytes};
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;

use super::admission::Place;

/// Writes a body of unknown length; an error ends the connection.
pub type Stream = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// Longest piece handed to the connection at once, which [`super::Limits::chunk`] is for.
const CHUNK_BYTES_MAX: usize = 16 << 10;
/// Pieces on their way; past them the writing thread waits for the client.
const CHUNKS_MAX: usize = 4;

/// The writing thread's end. An empty piece says that the body is complete.
pub(super) struct Chunks(mpsc::Sender<Bytes>);

/// Both ends of a body.
pub(super) fn channel() -> (Chunks, mpsc::Receiver<Bytes>) {
    let (out, chunks) = mpsc::channel(CHUNKS_MAX);
    (Chunks(out), chunks)
}

impl Chunks {
    /// Writes the whole body; each line goes out as soon as it ends.
    pub fn fill(self, write: Stream) -> io::Result<()> {
        let mut lines = LineWriter::new(self);
        write(&mut lines)?;
        lines.flush()?;
        lines.get_ref().send(Bytes::new())
    }

    fn send(&self, chunk: Bytes) -> io::Result<()> {
        self.0.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = &bytes[..bytes.len().min(CHUNK_BYTES_MAX)];
        if !chunk.is_empty() {
            self.send(Bytes::copy_from_slice(chunk))?;
        }
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The client's end. It breaks off when the writer fails before its end, so that no client takes
/// a part for the whole.
pub(super) fn body(mut chunks: mpsc::Receiver<Bytes>, place: Arc<Place>) -> Body {
    Body::from_stream(poll_fn(move |context| match chunks.poll_recv(context) {
        // Asked for more although there is none: what went out is taken, or fits hyper's buffer.
        Poll::Pending => {
            place.chunks_taken();
            Poll::Pending
        }
        Poll::Ready(chunk) => {
            place.chunk_out();
            match chunk {
                Some(chunk) if chunk.is_empty() => Poll::Ready(None),
                Some(chunk) => Poll::Ready(Some(Ok(chunk))),
                None => Poll::Ready(Some(Err("the page broke off"))),
            }
        }
    }))
}
