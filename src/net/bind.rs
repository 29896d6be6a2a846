//! From settings to bound sockets, with everything the start banner shows.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use socket2::Socket;

use super::internet::bind_internet;
use super::lane::{self, LaneLimits};
use super::socket_file::{SocketFile, SocketPlace, bind_path};
use super::source::{Source, SourceSettings};
use super::watched_file::WatchedFile;
use super::{
    BindError, InternetSettings, Lane, ListenerId, NetSettings, Problem, ProblemKind, Transport,
    inherited,
};

/// Where a listener stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerAddress {
    /// An IP address and port.
    Internet(SocketAddr),
    /// A path in the file system.
    Path(PathBuf),
}

impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenerAddress::Internet(address) => address.fmt(f),
            ListenerAddress::Path(path) => path.display().fmt(f),
        }
    }
}

/// One listener as the start banner shows it. Its position in [`Bound::listeners`] is its
/// [`ListenerId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerDescription {
    /// Its kind.
    pub transport: Transport,
    /// Where it stands; with port 0 asked for, the port the kernel chose.
    pub address: ListenerAddress,
    /// Receive buffer granted, in bytes as asked for (the kernel reports the double). Per socket.
    pub receive_buffer_bytes: usize,
    /// Sockets: one, or one per lane.
    pub sockets: usize,
    /// Handed over by a service manager.
    pub inherited: bool,
}

impl ListenerDescription {
    /// What helps against datagrams that the kernel drops on this listener; `asked` is the receive
    /// buffer that was asked for, in bytes.
    #[must_use]
    pub fn drop_remedy(&self, asked: usize) -> String {
        if self.transport != Transport::Udp {
            "read faster or send less".to_owned()
        } else if self.receive_buffer_bytes < asked {
            format!("sysctl -w net.core.rmem_max={asked}, or use UDS")
        } else {
            let twice = asked.saturating_mul(2);
            format!(
                "raise dogstatsd_so_rcvbuf above {asked}, such as {twice} with sysctl -w \
                 net.core.rmem_max={twice}, or use UDS"
            )
        }
    }
}

/// Bound listeners that no lane reads yet.
#[derive(Debug)]
pub struct Bound {
    /// The listeners, by [`ListenerId`].
    pub listeners: Vec<ListenerDescription>,
    /// Listeners that could not be bound and settings that could not be fully applied, none of them fatal.
    pub remarks: Vec<Problem>,
    sources: Vec<Vec<Source>>,
    files: Vec<WatchedFile>,
    limits: LaneLimits,
}

impl Bound {
    /// Optional listeners that could not be bound, with the reason.
    pub fn off(&self) -> impl Iterator<Item = &Problem> {
        self.remarks.iter().filter(|problem| {
            let works = self.listeners.iter().any(|found| found.transport == problem.transport);
            !works && !problem.kind.is_only_a_remark() && problem.kind != ProblemKind::NotOurs
        })
    }

    /// Adds a listener without sockets of ours: what comes there is handed to a lane by another room,
    /// which counts it in [`ListenerCounts`](super::ListenerCounts).
    pub fn add_http(&mut self, address: ListenerAddress) -> ListenerId {
        let id = ListenerId(u16::try_from(self.listeners.len()).unwrap_or(u16::MAX));
        self.listeners.push(ListenerDescription {
            transport: Transport::Http,
            address,
            receive_buffer_bytes: 0,
            sockets: 1,
            inherited: false,
        });
        id
    }

    /// One lane per configured lane, ready to run. The first one owns the Unix sockets and removes
    /// their files, if they are still ours, when it stops or is dropped.
    ///
    /// # Errors
    /// When the system has no more descriptors for polls.
    pub fn into_lanes(self) -> std::io::Result<Vec<Lane>> {
        let listeners: Vec<_> = self.listeners.iter().map(|found| found.transport).collect();
        lane::lanes_of(self.sources, self.files, &listeners, self.limits)
    }
}

/// Binds every listener of `settings`.
///
/// # Errors
/// A listener that cannot be bound is fatal unless it is optional. An optional one is fatal too when its
/// port is in use, when a live process serves its path, or when no listener is left. The error holds
/// every problem found, and nothing stays bound.
pub fn bind(settings: NetSettings) -> Result<Bound, BindError> {
    let limits = LaneLimits {
        datagram_bytes_max: settings.datagram_bytes_max.max(1),
        connections_max: settings.connections_max,
        pause: settings.pause,
    };
    let mut binding = Binding {
        bound: Bound {
            listeners: Vec::new(),
            remarks: Vec::new(),
            sources: (0..settings.lanes.max(1)).map(|_| Vec::new()).collect(),
            files: Vec::new(),
            limits,
        },
        optional: settings.optional,
        required_failed: false,
        may_be_empty: settings.http_beside,
        source: SourceSettings {
            receive_buffer_bytes: settings.receive_buffer_bytes,
            credentials: settings.credentials,
        },
    };
    let adopted = binding.adopt(settings.inherited);
    let group = if settings.reuse_port { settings.lanes.max(1) } else { 1 };
    let wanted = |transport| !adopted.contains(&transport);
    if let Some(udp) = settings.udp.filter(|_| wanted(Transport::Udp)) {
        binding.bind_internet(Transport::Udp, &udp, group);
    }
    if let Some(path) = settings.unix_datagram.filter(|_| wanted(Transport::UnixDatagram)) {
        binding.bind_unix(Transport::UnixDatagram, path, settings.socket_mode);
    }
    if let Some(path) = settings.unix_stream.filter(|_| wanted(Transport::UnixStream)) {
        binding.bind_unix(Transport::UnixStream, path, settings.stream_socket_mode);
    }
    if let Some(tcp) = settings.tcp.filter(|_| wanted(Transport::Tcp)) {
        binding.bind_internet(Transport::Tcp, &tcp, 1);
    }
    binding.finish()
}

struct Binding {
    bound: Bound,
    optional: Vec<Transport>,
    /// A listener that was asked for could not be bound.
    required_failed: bool,
    may_be_empty: bool,
    source: SourceSettings,
}

impl Binding {
    /// Takes over passed sockets; returns the kinds that need no binding.
    fn adopt(&mut self, descriptors: Vec<std::os::fd::OwnedFd>) -> Vec<Transport> {
        let mut kinds = Vec::new();
        for descriptor in descriptors {
            match inherited::classify(descriptor) {
                Ok((transport, socket)) => {
                    let path = path_of(&socket);
                    if self.add(transport, None, vec![socket], true) {
                        kinds.push(transport);
                        if let Some(path) = path {
                            // The manager made the file: no mode of ours applies to it.
                            self.watch(SocketPlace { transport, path, mode: 0 }, None);
                        }
                    }
                }
                Err(problem) => self.bound.remarks.push(problem),
            }
        }
        kinds
    }

    fn bind_internet(&mut self, transport: Transport, wanted: &InternetSettings, group: usize) {
        match bind_internet(transport, wanted, group) {
            Ok((bound, problems)) => {
                for (address, sockets) in bound {
                    self.add(transport, Some(ListenerAddress::Internet(address)), sockets, false);
                }
                self.bound.remarks.extend(problems);
            }
            Err(problem) => self.bound.remarks.push(problem),
        }
        self.must_work(transport);
    }

    /// A listener that was asked for has to be there now.
    fn must_work(&mut self, transport: Transport) {
        let works = self.bound.listeners.iter().any(|found| found.transport == transport);
        self.required_failed |= !works && !self.optional.contains(&transport);
    }

    fn bind_unix(&mut self, transport: Transport, path: PathBuf, mode: u32) {
        match bind_path(transport, &path, mode) {
            Ok((socket, file)) => {
                let address = ListenerAddress::Path(path.clone());
                if self.add(transport, Some(address), vec![socket], false) {
                    let place = SocketPlace { transport, path, mode };
                    self.watch(place, Some(file));
                }
            }
            Err(problem) => self.bound.remarks.push(problem),
        }
        self.must_work(transport);
    }

    /// The lane looks after the file of the listener that was added last.
    fn watch(&mut self, place: SocketPlace, file: Option<SocketFile>) {
        let listener = self.bound.listeners.len().saturating_sub(1);
        let listener = ListenerId(u16::try_from(listener).unwrap_or(u16::MAX));
        let watched = WatchedFile::new(listener, place, file, self.source);
        self.bound.files.extend(watched);
    }

    /// Sets up the sockets of one listener and gives them to lanes; false when that failed.
    fn add(
        &mut self,
        transport: Transport,
        address: Option<ListenerAddress>,
        sockets: Vec<Socket>,
        inherited: bool,
    ) -> bool {
        let address = address.unwrap_or_else(|| address_of(&sockets));
        let id = self.bound.listeners.len();
        let Ok(listener) = u16::try_from(id).map(ListenerId) else { return false };
        let (mut granted, count) = (usize::MAX, sockets.len());
        // Passed UDP sockets are one per address or port; lanes take them in turn.
        let first = if inherited && transport == Transport::Udp { id } else { 0 };
        for (i, socket) in sockets.into_iter().enumerate() {
            let source = match Source::set_up(listener, transport, socket, self.source) {
                Ok((source, refused)) => {
                    self.remark_on_credentials(transport, &address, refused);
                    source
                }
                Err(error) => {
                    let doing = "setting non-blocking";
                    self.bound.remarks.push(Problem::system(transport, &address, doing, &error));
                    return false;
                }
            };
            granted = granted.min(source.receive_buffer_bytes);
            let lane = (first + i) % self.bound.sources.len();
            self.bound.sources[lane].push(source);
        }
        self.remark_on_buffer(transport, &address, granted);
        self.bound.listeners.push(ListenerDescription {
            transport,
            address,
            receive_buffer_bytes: granted,
            sockets: count,
            inherited,
        });
        true
    }

    fn remark_on_credentials(
        &mut self,
        transport: Transport,
        address: &ListenerAddress,
        refused: Option<std::io::Error>,
    ) {
        let Some(error) = refused else { return };
        let detail = format!("the kernel does not name senders: {error}");
        let remedy = "turn dogstatsd_origin_detection off, or let clients send container ids";
        let kind = ProblemKind::CredentialsUnavailable;
        self.bound.remarks.push(Problem::new(kind, transport, address, detail, remedy));
    }

    /// Only UDP loses datagrams to a small buffer; elsewhere senders wait.
    fn remark_on_buffer(
        &mut self,
        transport: Transport,
        address: &ListenerAddress,
        granted: usize,
    ) {
        let asked = self.source.receive_buffer_bytes;
        if transport != Transport::Udp || granted >= asked {
            return;
        }
        let detail = format!("receive buffer: asked {asked} bytes, got {granted}");
        let remedy = format!("sysctl -w net.core.rmem_max={asked}, or send over a Unix socket");
        let kind = ProblemKind::BufferClamped;
        self.bound.remarks.push(Problem::new(kind, transport, address, detail, remedy));
    }

    fn finish(mut self) -> Result<Bound, BindError> {
        let fatal = self.bound.remarks.iter().any(|problem| problem.kind.is_fatal());
        let enough = self.may_be_empty || !self.bound.listeners.is_empty();
        if !fatal && !self.required_failed && enough {
            return Ok(self.bound);
        }
        let mut problems = std::mem::take(&mut self.bound.remarks);
        problems.retain(|problem| !problem.kind.is_only_a_remark());
        problems.sort_by_key(|problem| !problem.kind.is_fatal());
        Err(BindError { problems })
    }
}

fn address_of(sockets: &[Socket]) -> ListenerAddress {
    let address = sockets.first().and_then(|socket| socket.local_addr().ok());
    let internet = address.as_ref().and_then(|found| found.as_socket());
    internet.map(ListenerAddress::Internet).unwrap_or_else(|| {
        let path = sockets.first().and_then(path_of);
        ListenerAddress::Path(path.unwrap_or_else(|| PathBuf::from("(unnamed)")))
    })
}

fn path_of(socket: &Socket) -> Option<PathBuf> {
    Some(socket.local_addr().ok()?.as_pathname()?.to_owned())
}
