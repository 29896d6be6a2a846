//! The workloads of a node at one moment, and how they differ from those of another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Identity;
use super::pod_tags::Extraction;
use super::pods::PodList;
use super::workload::Workload;

/// How long a workload that is gone keeps its tags: its last metrics may arrive later.
const GONE_KEPT: Duration = Duration::from_secs(300);
/// Workloads that are gone, kept at most.
const GONE_MAX: usize = 16_384;

/// An identity that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Container(Box<[u8]>),
    PodContainer { pod_uid: Box<[u8]>, name: Box<[u8]>, init: bool },
    Pod(Box<[u8]>),
}

impl Key {
    fn of(identity: Identity<'_>) -> Option<Self> {
        Some(match identity {
            Identity::Container(id) => Key::Container(id.into()),
            Identity::PodContainer { pod_uid, name, init } => {
                Key::PodContainer { pod_uid: pod_uid.into(), name: name.into(), init }
            }
            Identity::Pod(uid) => Key::Pod(uid.into()),
            Identity::Inode(_) => return None,
        })
    }

    fn identity(&self) -> Identity<'_> {
        match self {
            Key::Container(id) => Identity::Container(id),
            Key::PodContainer { pod_uid, name, init } => {
                Identity::PodContainer { pod_uid, name, init: *init }
            }
            Key::Pod(uid) => Identity::Pod(uid),
        }
    }
}

#[derive(Clone, Debug)]
struct Known {
    workload: Arc<Workload>,
    /// When a list of pods last named it.
    seen: Duration,
}

/// What is known of a node's workloads. Immutable: the next list of pods makes the next one.
#[derive(Clone, Debug, Default)]
pub struct Snapshot(HashMap<Key, Known, ahash::RandomState>);

impl Snapshot {
    /// The snapshot after this list of pods, read at `now` (any clock that only goes forward).
    /// Workloads that the list does not name any more keep their tags for five minutes.
    #[must_use]
    pub fn next(&self, pods: &PodList, extraction: &Extraction, now: Duration) -> Self {
        let mut next: HashMap<Key, Known, ahash::RandomState> = HashMap::default();
        for pod in pods.items.iter().filter(|pod| !pod.metadata.uid.is_empty()) {
            let pod_uid = pod.metadata.uid.as_bytes();
            let (workload, containers) = extraction.of(pod);
            let known = |workload| Known { workload, seen: now };
            next.insert(Key::Pod(pod_uid.into()), known(Arc::new(workload)));
            for container in containers {
                let workload = Arc::new(container.workload);
                let (name, init) = (container.name.into_bytes().into(), container.init);
                let place = Key::PodContainer { pod_uid: pod_uid.into(), name, init };
                next.insert(place, known(Arc::clone(&workload)));
                let id = container.id.into_bytes().into();
                next.insert(Key::Container(id), known(workload));
            }
        }
        let kept = |known: &Known| now.saturating_sub(known.seen) < GONE_KEPT;
        let mut gone = 0;
        for (key, known) in self.0.iter().filter(|(_, known)| kept(known)) {
            if gone < GONE_MAX && !next.contains_key(key) {
                next.insert(key.clone(), known.clone());
                gone += 1;
            }
        }
        Snapshot(next)
    }

    /// The workload, unless it is unknown. An inode is none by itself.
    #[must_use]
    pub fn workload(&self, identity: Identity<'_>) -> Option<&Arc<Workload>> {
        self.0.get(&Key::of(identity)?).map(|known| &known.workload)
    }

    /// Identities for which the two would answer differently.
    pub fn differing<'a>(&'a self, other: &'a Snapshot) -> impl Iterator<Item = Identity<'a>> {
        let of = |snapshot: &'a Snapshot, key| {
            snapshot.0.get(key).map(|known: &'a Known| &*known.workload)
        };
        let gone = other.0.keys().filter(|key| !self.0.contains_key(*key));
        let keys = self.0.keys().chain(gone);
        keys.filter(move |key| of(self, key) != of(other, key)).map(Key::identity)
    }

    /// Pods, containers and their places.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cardinality;
    use super::*;

    fn pods(rows: &[(&str, &str, &str)]) -> PodList {
        let items: Vec<String> = rows
            .iter()
            .map(|(uid, namespace, id)| {
                format!(
                    r#"{{"metadata":{{"name":"p","namespace":"{namespace}","uid":"{uid}"}},"status":
                    {{"containerStatuses":[{{"name":"c","containerID":"docker://{id}"}}]}}}}"#
                )
            })
            .collect();
        PodList::read(format!(r#"{{"kind":"PodList","items":[{}]}}"#, items.join(",")).as_bytes())
            .unwrap()
    }

    fn next(snapshot: &Snapshot, rows: &[(&str, &str, &str)], now: u64) -> Snapshot {
        snapshot.next(&pods(rows), &Extraction::default(), Duration::from_secs(now))
    }

    fn knows(snapshot: &Snapshot, identity: Identity<'_>, tag: &str) -> bool {
        snapshot.workload(identity).is_some_and(|workload| {
            workload.up_to(Cardinality::Low).iter().any(|has| has == tag.as_bytes())
        })
    }

    #[test]
    fn a_container_is_found_by_id_and_by_place() {
        let snapshot = next(&Snapshot::default(), &[("u1", "shop", "c1")], 0);
        let place = |pod_uid, name, init| Identity::PodContainer { pod_uid, name, init };
        for identity in
            [Identity::Container(b"c1"), Identity::Pod(b"u1"), place(b"u1", b"c", false)]
        {
            assert!(knows(&snapshot, identity, "kube_namespace:shop"), "{identity:?}");
        }
        assert!(knows(&snapshot, place(b"u1", b"c", false), "kube_container_name:c"));
        for identity in [
            Identity::Container(b"u1"),
            Identity::Pod(b"c1"),
            place(b"u1", b"c", true),
            place(b"u2", b"c", false),
            Identity::Inode(1),
        ] {
            assert!(snapshot.workload(identity).is_none(), "{identity:?}");
        }
    }

    #[test]
    fn who_is_gone_is_known_for_five_minutes_more() {
        let first = next(&Snapshot::default(), &[("u1", "shop", "c1"), ("u2", "x", "c2")], 0);
        let second = next(&first, &[("u2", "x", "c2")], 299);
        assert!(knows(&second, Identity::Container(b"c1"), "kube_namespace:shop"));
        let third = next(&second, &[("u2", "x", "c2")], 300);
        assert!(third.workload(Identity::Container(b"c1")).is_none());
        assert!(third.workload(Identity::Container(b"c2")).is_some());
    }

    #[test]
    fn only_changed_workloads_differ() {
        let first = next(&Snapshot::default(), &[("u1", "a", "c1"), ("u2", "b", "c2")], 0);
        let same = next(&first, &[("u2", "b", "c2"), ("u1", "a", "c1")], 10);
        assert_eq!(first.differing(&same).count(), 0);
        let changed = next(&first, &[("u1", "a", "c1"), ("u2", "z", "c2"), ("u3", "d", "c3")], 10);
        let differing: Vec<_> = first.differing(&changed).collect();
        assert_eq!(differing.len(), 6);
        assert!(differing.contains(&Identity::Container(b"c2")));
        assert!(differing.contains(&Identity::Pod(b"u3")));
        assert!(!differing.contains(&Identity::Pod(b"u1")));
    }
}
