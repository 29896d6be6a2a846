//! The thread, its listeners, and their end.

use std::io;
use std::net;
use std::os::unix;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};
use tower_http::catch_panic::CatchPanicLayer;

use super::connection::{self, Socket};
use super::refusals::Refusals;
use super::session::Session;

/// Pause after an accept that failed: the usual cause is a lack of descriptors, which passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections past the maximum that get a 503 at the same time; any more are closed without an answer.
const REFUSED_MAX: usize = 32;
/// How long one of them may take to read it.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// How long requests in progress may take when the server stops.
const STOP: Duration = Duration::from_millis(250);

/// Bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Connections at once; one more is answered 503.
    pub connections_max: usize,
    /// From the first byte of a request to its last.
    pub request: Duration,
    /// For the first byte of the next request, and for the client to take an answer.
    pub idle: Duration,
    /// Threads for what may take its time.
    pub threads_max: usize,
}

/// A listening socket that does not block.
#[derive(Debug)]
pub enum StreamListener {
    /// TCP.
    Tcp(net::TcpListener),
    /// A Unix stream socket.
    Unix(unix::net::UnixListener),
}

/// A running server: one thread for all its listeners. Dropping it stops it.
#[derive(Debug)]
pub struct RequestServer {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RequestServer {
    /// Starts the thread `name`, which answers with `router`, and counts in `refusals` what gets no
    /// route; what may take its time runs on threads `name-work`, which come and go.
    ///
    /// # Errors
    /// When the system has no thread or descriptors for it.
    pub fn start(
        name: &str,
        listeners: Vec<StreamListener>,
        limits: RequestLimits,
        router: Router,
        refusals: Arc<dyn Refusals>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(limits.threads_max)
            .thread_name(format!("{name}-work"))
            .build()?;
        let acceptor = Arc::new(Acceptor {
            limits,
            router: router.layer(CatchPanicLayer::custom(connection::panicked)),
            refusals,
            places: Arc::new(Semaphore::new(limits.connections_max)),
            refused: Arc::new(Semaphore::new(REFUSED_MAX)),
        });
        let handle = runtime.handle().clone();
        for listener in listeners {
            let _context = handle.enter();
            let listener = Listener::of(listener)?;
            handle.spawn(accept(listener, Arc::clone(&acceptor)));
        }
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            // Either word means the end: the order to stop, or that nothing is left to give it.
            let _ = runtime.block_on(stopped);
            // Connections close here; what a thread has in work is waited for, so that it counts.
            runtime.shutdown_timeout(STOP);
        };
        let thread = Some(thread::Builder::new().name(name.to_owned()).spawn(run)?);
        Ok(RequestServer { stop: Some(stop), thread })
    }
}

impl Drop for RequestServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Nothing blocks on that thread, and a panic in a task ends only the task.
            let _ = thread.join();
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn of(listener: StreamListener) -> io::Result<Self> {
        match listener {
            StreamListener::Tcp(listener) => TcpListener::from_std(listener).map(Listener::Tcp),
            StreamListener::Unix(listener) => UnixListener::from_std(listener).map(Listener::Unix),
        }
    }

    /// The next connection, and the process at its other end where the system says so.
    async fn accept(&self) -> io::Result<(Box<dyn Socket>, Option<i32>)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Without it an answer is late, not lost.
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), None))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred().ok().and_then(|found| found.pid());
                Ok((Box::new(stream), peer))
            }
        }
    }
}

struct Acceptor {
    limits: RequestLimits,
    router: Router,
    refusals: Arc<dyn Refusals>,
    places: Arc<Semaphore>,
    refused: Arc<Semaphore>,
}

async fn accept(listener: Listener, acceptor: Arc<Acceptor>) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => acceptor.admit(socket, peer),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

impl Acceptor {
    fn admit(&self, socket: Box<dyn Socket>, peer: Option<i32>) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return self.refuse(socket);
        };
        let session = Session::new(peer, self.limits.request, self.limits.idle);
        let (router, refusals) = (self.router.clone(), Arc::clone(&self.refusals));
        let linger = self.limits.request;
        tokio::spawn(async move {
            let _place = place;
            connection::serve(socket, session, router, refusals, linger).await;
        });
    }

    fn refuse(&self, mut socket: Box<dyn Socket>) {
        self.refusals.connection();
        let Ok(turn) = Arc::clone(&self.refused).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _turn = turn;
            let until = Instant::now() + REFUSED_FOR;
            let said = async {
                let answer = connection::too_many();
                socket.write_all(answer.as_bytes()).await?;
                socket.shutdown().await?;
                // Closing with unread bytes would take the answer away from the client.
                let mut rest = [0; 4 << 10];
                while socket.read(&mut rest).await? > 0 {}
                io::Result::Ok(())
            };
            // A client that does not listen is not waited for.
            let _ = timeout_at(until, said).await;
        });
    }
}
