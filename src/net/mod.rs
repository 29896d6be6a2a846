//! Receive: sockets become datagrams in a lane's hands.
//!
//! In: [`NetSettings`], a plain struct of addresses and limits. Out: [`bind`] gives a [`Bound`] for the
//! start banner, which becomes one [`Lane`] per receive thread; each lane calls a [`Receiver`] with
//! borrowed bytes, the [`Sender`] and the [`Arrival`]. Promise: bytes reach the receiver in the order
//! the kernel gave them, every cut, refused or lost unit is a number in [`ListenerCounts`], memory is
//! bounded by the settings, a live socket is never stolen, and a lane whose receiver panicked can run
//! again on the same sockets. Refusal: it does not parse, does not log, does not read the
//! clock for other rooms, and knows no other room.

mod arrival;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod batch;
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod batch_portable;
mod bind;
mod connections;
mod counts;
mod framing;
#[doc(hidden)]
pub mod fuzz_api;
mod handle;
mod http_listeners;
mod inherited;
mod internet;
mod lane;
mod listener;
mod pause;
mod problem;
mod settings;
mod socket_file;
mod source;
mod sys;
mod watched_file;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use batch_portable as batch;

pub use arrival::{Arrival, Credentials, Incident, Receiver, Sender, SocketName};
pub use bind::{Bound, ListenerAddress, ListenerDescription, bind};
pub use counts::ListenerCounts;
pub use handle::LaneHandle;
pub use http_listeners::{HttpListener, HttpListeners, HttpSettings, bind_http};
pub use inherited::inherited_sockets;
pub use lane::{Lane, LaneEnd};
pub use listener::{ListenerId, Transport};
pub use problem::{BindError, Problem, ProblemKind};
pub use settings::{Addresses, InternetSettings, NetSettings};
pub use socket_file::{SocketFile, check_socket_path, folder_of};
pub use sys::may_make_files;
