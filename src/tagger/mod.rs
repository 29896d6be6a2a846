//! Tags of workloads: from who sent a line to what the orchestrator knows of the sender.
//!
//! In: an [`Identity`] (a container, a control group's inode, a pod, a pod's container) and a
//! cardinality. Out: the [`Tags`] of that workload, or the answer that it is not known yet. Promise:
//! an answer never waits for the network or walks a folder, memory is bounded, and an answer that
//! changes moves the [`Tagger::generation`]. Refusal: it knows no other room, parses no line and
//! decides no precedence between identities.

use std::fmt;

pub use crate::config::Cardinality;

#[cfg(any(feature = "server", feature = "datastreams"))]
mod container_id;
#[cfg(feature = "server")]
mod inodes;
#[cfg(feature = "server")]
mod kubelet;
#[cfg(feature = "server")]
mod live;
#[cfg(feature = "server")]
mod names;
#[cfg(feature = "server")]
mod pattern;
#[cfg(feature = "server")]
mod pod_tags;
#[cfg(feature = "server")]
mod pods;
#[cfg(feature = "server")]
mod processes;
#[cfg(feature = "server")]
mod queried;
#[cfg(feature = "server")]
mod snapshot;
mod workload;

#[cfg(any(feature = "server", feature = "datastreams"))]
pub use container_id::container_id;
#[cfg(feature = "server")]
pub use inodes::Inodes;
#[cfg(feature = "server")]
pub use kubelet::{Kubelet, KubeletError, KubeletSettings};
#[cfg(feature = "server")]
pub use live::{LiveTagger, TaggerSettings};
#[cfg(feature = "server")]
pub use pod_tags::Extraction;
#[cfg(feature = "server")]
pub use pods::PodList;
#[cfg(feature = "server")]
pub use processes::{ProcessOrigin, Processes};
#[cfg(feature = "server")]
pub use snapshot::Snapshot;
pub use workload::{Tags, Workload, WorkloadBuilder};

/// Who a message may come from. Bytes are as the client or the system wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity<'a> {
    /// A container by its id.
    Container(&'a [u8]),
    /// A container by the inode of its control group's folder.
    Inode(u64),
    /// A container by its place in a pod.
    PodContainer {
        /// The pod's uid.
        pod_uid: &'a [u8],
        /// The container's name in the pod.
        name: &'a [u8],
        /// True for an init container.
        init: bool,
    },
    /// A pod by its uid.
    Pod(&'a [u8]),
}

/// Gives the tags of workloads. Shared by every lane, asked only on first sight of a raw key.
pub trait Tagger: fmt::Debug + Send + Sync {
    /// The tags of a workload up to a cardinality (none at [`Cardinality::None`]), or `None` while
    /// the workload is not known. Asking is remembered: when the answer changes later, the
    /// generation moves.
    fn tags(&self, identity: Identity<'_>, cardinality: Cardinality) -> Option<Tags>;

    /// Moves whenever an answer that was given may be different now.
    fn generation(&self) -> u64;
}
