//! Unix sockets in the file system: never steal a live one, replace a stale one, remove only ours.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{Problem, ProblemKind, Transport, sys};

/// Longest path that fits `sun_path` with its final zero: 108 on Linux, 104 on the BSDs and macOS.
const PATH_BYTES_MAX: usize =
    if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// Connections the kernel may hold on a stream socket before we accept them.
const BACKLOG: i32 = 1024;

/// Where a Unix socket belongs.
#[derive(Clone, Debug)]
pub(super) struct SocketPlace {
    pub(super) transport: Transport,
    pub(super) path: PathBuf,
    /// Permission bits of the file.
    pub(super) mode: u32,
}

/// A socket file we made. Dropping it removes the file if it is still the one we made.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let (device, inode) = identity(path)?;
        Ok(SocketFile { path: path.to_owned(), device, inode })
    }
}

impl SocketFile {
    /// Whether the file that clients find at the path is still this one.
    pub(super) fn is_in_place(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == (self.device, self.inode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_in_place() {
            // A file that cannot be removed is found stale, and replaced, by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and inode of what stands at `path`, links not followed.
pub(super) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Binds a Unix socket at `path` with permission bits `mode`; a stream socket listens.
pub(super) fn bind_path(
    transport: Transport,
    path: &Path,
    mode: u32,
) -> Result<(Socket, SocketFile), Problem> {
    let kind = if transport.is_stream() { Type::STREAM } else { Type::DGRAM };
    let failed = |doing: &str, error: &io::Error| path_problem(transport, path, doing, error);
    check_path(transport, path)?;
    clear_stale(transport, path, kind)?;
    let address = SockAddr::unix(path).map_err(|e| failed("naming the socket", &e))?;
    let socket =
        Socket::new(Domain::UNIX, kind, None).map_err(|e| failed("making a socket", &e))?;
    restrict_before_bind(&socket, mode);
    socket.bind(&address).map_err(|e| failed("binding", &e))?;
    let file = SocketFile::at(path).map_err(|e| failed("looking at the new socket", &e))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|e| failed("setting the mode", &e))?;
    if transport.is_stream() {
        socket.listen(BACKLOG).map_err(|e| failed("listening", &e))?;
    }
    Ok((socket, file))
}

/// On Linux the file gets the mode of the unbound socket less the umask: there is no moment at which
/// it is more open than asked for. Elsewhere the call fails and the umask alone rules until chmod.
fn restrict_before_bind(socket: &Socket, mode: u32) {
    // Failing is harmless: the exact mode is set after bind, where failing is reported.
    let _ = socket.try_clone().and_then(|socket| {
        fs::File::from(OwnedFd::from(socket)).set_permissions(fs::Permissions::from_mode(mode))
    });
}

/// Whether a socket could be bound at `path`, without binding it: its length, the folder, and what
/// stands at the path. A live owner is not looked for: it may be the server that asks.
///
/// # Errors
/// What would keep [`bind`](super::bind) from it.
pub fn check_socket_path(transport: Transport, path: &Path) -> Result<(), Problem> {
    check_path(transport, path)?;
    if let Err(error) = sys::may_make_files(folder_of(path)) {
        return Err(path_problem(transport, path, "making a socket", &error));
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(not_a_socket(transport, path)),
        _ => Ok(()),
    }
}

fn check_path(transport: Transport, path: &Path) -> Result<(), Problem> {
    let length = path.as_os_str().as_bytes().len();
    if length > PATH_BYTES_MAX {
        let detail = format!("the path has {length} bytes, a socket path at most {PATH_BYTES_MAX}");
        let remedy = "choose a shorter path";
        let kind = ProblemKind::PathTooLong;
        return Err(Problem::new(kind, transport, path.display(), detail, remedy));
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        let exists = folder.exists();
        let what = if exists { "is not a folder" } else { "does not exist" };
        let detail = format!("{} {what}", folder.display());
        let create = if exists { "" } else { "create it or " };
        let remedy = format!("{create}set {} to another path, or to '' for none", key(transport));
        let kind = ProblemKind::FolderMissing;
        return Err(Problem::new(kind, transport, path.display(), detail, remedy));
    }
    Ok(())
}

/// Removes a socket file that no process serves; refuses a live one and anything that is not a socket.
fn clear_stale(transport: Transport, path: &Path, kind: Type) -> Result<(), Problem> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(path_problem(transport, path, "looking at it", &error)),
    };
    if !found.file_type().is_socket() {
        return Err(not_a_socket(transport, path));
    }
    if is_served(path, kind).map_err(|e| path_problem(transport, path, "probing it", &e))? {
        return Err(live_owner(transport, path));
    }
    // Another starter may have replaced it since the probe; then it is live and not ours to remove.
    if identity(path).is_ok_and(|now| now != (found.dev(), found.ino())) {
        return Err(live_owner(transport, path));
    }
    fs::remove_file(path).map_err(|e| path_problem(transport, path, "removing a stale socket", &e))
}

/// Whether a process has the socket open: a connect shows it, without sending anything.
fn is_served(path: &Path, kind: Type) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, kind, None)?;
    // A stream socket with a full backlog would make a blocking connect wait.
    probe.set_nonblocking(true)?;
    let Err(error) = probe.connect(&SockAddr::unix(path)?) else { return Ok(true) };
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => Ok(false),
        ErrorKind::WouldBlock => Ok(true),
        _ if error.raw_os_error() == Some(libc::EPROTOTYPE) => Ok(true),
        _ => Err(error),
    }
}

fn not_a_socket(transport: Transport, path: &Path) -> Problem {
    let detail = "the path exists and is not a socket";
    let remedy = format!("move it away or set {} to another path", key(transport));
    Problem::new(ProblemKind::NotASocket, transport, path.display(), detail, remedy)
}

fn live_owner(transport: Transport, path: &Path) -> Problem {
    let detail = "a live process serves this socket";
    let remedy = format!("stop that process or set {} to another path", key(transport));
    Problem::new(ProblemKind::LiveOwner, transport, path.display(), detail, remedy)
}

fn path_problem(transport: Transport, path: &Path, doing: &str, error: &io::Error) -> Problem {
    match error.kind() {
        ErrorKind::AddrInUse => live_owner(transport, path),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            let folder = folder_of(path);
            let detail = format!("{doing}: permission denied in {}", folder.display());
            let remedy = format!(
                "make {} writable for this user, or set {} to another path, or to '' for none",
                folder.display(),
                key(transport)
            );
            Problem::new(ProblemKind::PermissionDenied, transport, path.display(), detail, remedy)
        }
        _ => Problem::system(transport, path.display(), doing, error),
    }
}

/// The folder of a file; of a bare name the current one.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The configuration key that names the path.
const fn key(transport: Transport) -> &'static str {
    match transport {
        Transport::Http => "apm_config.receiver_socket",
        _ if transport.is_stream() => "dogstatsd_stream_socket",
        _ => "dogstatsd_socket",
    }
}
