//! Listening sockets for HTTP, bound as any other listener and handed to the room that accepts from
//! them.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::internet::bind_internet;
use super::socket_file::{SocketFile, bind_path};
use super::{BindError, InternetSettings, ListenerAddress, Problem, ProblemKind, Transport};

/// Where HTTP is served.
#[derive(Debug)]
pub struct HttpSettings {
    /// TCP; `None` turns it off.
    pub tcp: Option<InternetSettings>,
    /// Path of a Unix stream socket; `None` turns it off.
    pub unix: Option<PathBuf>,
    /// Permission bits of that socket's file.
    pub unix_mode: u32,
    /// No one asked for that path: if it cannot be made, TCP is served without it.
    pub unix_optional: bool,
}

/// One listening socket, not blocking.
#[derive(Debug)]
pub enum HttpListener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix stream socket.
    Unix(UnixListener),
}

/// What was bound.
#[derive(Debug)]
pub struct HttpListeners {
    /// Each socket with its address; with port 0 asked for, the port the kernel chose.
    pub bound: Vec<(ListenerAddress, HttpListener)>,
    /// What could not be bound, none of it fatal.
    pub remarks: Vec<Problem>,
    /// Removes the file of the Unix socket when dropped.
    pub file: Option<SocketFile>,
}

/// Binds what `settings` name.
///
/// # Errors
/// A port in use, a path with a live owner, and whatever else keeps something that was asked for from
/// being served. Nothing stays bound.
pub fn bind_http(settings: &HttpSettings) -> Result<HttpListeners, BindError> {
    let mut made = HttpListeners { bound: Vec::new(), remarks: Vec::new(), file: None };
    let mut problems = Vec::new();
    if let Some(tcp) = &settings.tcp {
        match bind_internet(Transport::Http, tcp, 1) {
            Ok((groups, remarks)) => {
                let fatal = groups.is_empty();
                for (address, sockets) in groups {
                    let place = ListenerAddress::Internet(address);
                    for socket in sockets {
                        match socket.set_nonblocking(true) {
                            Ok(()) => made.bound.push((
                                place.clone(),
                                HttpListener::Tcp(TcpListener::from(socket)),
                            )),
                            Err(error) => problems.push(not_set_up(&place, &error)),
                        }
                    }
                }
                if fatal { problems.extend(remarks) } else { made.remarks.extend(remarks) }
            }
            Err(problem) => problems.push(problem),
        }
    }
    if let Some(path) = &settings.unix {
        let place = ListenerAddress::Path(path.clone());
        match bind_path(Transport::Http, path, settings.unix_mode) {
            Ok((socket, file)) => match socket.set_nonblocking(true) {
                Ok(()) => {
                    made.bound.push((place, HttpListener::Unix(UnixListener::from(socket))));
                    made.file = Some(file);
                }
                Err(error) => problems.push(not_set_up(&place, &error)),
            },
            Err(problem) if settings.unix_optional && problem.kind != ProblemKind::LiveOwner => {
                made.remarks.push(problem);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(made) } else { Err(BindError { problems }) }
}

fn not_set_up(place: &ListenerAddress, error: &std::io::Error) -> Problem {
    Problem::system(Transport::Http, place, "setting non-blocking", error)
}
