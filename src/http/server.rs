//! The thread, its listeners, and their end.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::Address;
use super::admission::{Admission, Limits, Refusals};
use super::connection::{self, Socket};

/// Connections the kernel keeps until they are accepted, when it allows so many.
const BACKLOG: u32 = 1_024;
/// Pause after an accept that failed: the usual cause is a lack of descriptors, which passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running server: one thread for all its listeners. Dropping it stops it.
pub struct HttpServer {
    handle: Handle,
    admission: Arc<Admission>,
    addresses: Vec<Address>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Starts the thread `http`, which counts in `refusals` what gets no page; pages are made on threads `http-page` that come and go.
    ///
    /// # Errors
    /// When the system has no thread or descriptors for it.
    pub fn start(limits: Limits, refusals: Arc<Refusals>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(limits.pages_max)
            .thread_name("http-page")
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            // Either word means the end: the order to stop, or that nothing is left to give it.
            let _ = runtime.block_on(stopped);
            // Connections close here. A page on its way is not waited for: what it writes to is gone.
            runtime.shutdown_background();
        };
        let thread = Some(thread::Builder::new().name("http".to_owned()).spawn(run)?);
        let admission = Admission::new(limits, refusals);
        Ok(HttpServer { handle, admission, addresses: Vec::new(), stop: Some(stop), thread })
    }

    /// Binds and answers there. Returns where: with port 0 asked for, the port the system chose.
    ///
    /// # Errors
    /// When the address is in use or not available.
    pub fn listen(&mut self, address: &Address, router: Router) -> io::Result<Address> {
        let _context = self.handle.enter();
        let listener = Listener::bind(address)?;
        let bound = match &listener {
            Listener::Tcp(listener) => Address::Tcp(listener.local_addr()?),
            Listener::Unix(_) => address.clone(),
        };
        let local = matches!(&bound, Address::Tcp(bound) if bound.ip().is_loopback());
        self.handle.spawn(accept(listener, Arc::clone(&self.admission), router, local));
        self.addresses.push(bound.clone());
        Ok(bound)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Nothing blocks on that thread, and a panic in a task ends only the task.
            let _ = thread.join();
        }
        for address in &self.addresses {
            if let Address::Unix(path) = address {
                // A leftover is found stale by the next start.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => {
                let socket =
                    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                socket.listen(BACKLOG).map(Listener::Tcp)
            }
            Address::Unix(path) => {
                clear_stale(path)?;
                let socket = UnixSocket::new_stream()?;
                socket.bind(path)?;
                // The owner and its group: the pages name metrics and senders.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                socket.listen(BACKLOG).map(Listener::Unix)
            }
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Socket>> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Lines of a stream go out as they come; without it they are late, not lost.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Listener::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

/// Removes a socket that no process serves.
fn clear_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let in_use = |text: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, text.to_owned()));
    if !found.file_type().is_socket() {
        return in_use("the path exists and is not a socket");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => in_use("a live process serves this socket"),
    }
}

async fn accept(listener: Listener, admission: Arc<Admission>, router: Router, local: bool) {
    loop {
        match listener.accept().await {
            Ok(socket) => {
                let (place, told_to_go) = admission.admit();
                tokio::spawn(connection::serve(socket, place, told_to_go, router.clone(), local));
                // The new connection gets its turn before the next: a request that is there
                // already is read before a crowd behind it could take its place.
                tokio::task::yield_now().await;
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => {
                admission.make_room();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
