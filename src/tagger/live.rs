//! The tagger of a running server: answers from memory, and a thread that keeps the memory fresh.
//!
//! What is clever here is the order of things, which no lock enforces: an answer is remembered as
//! asked for *before* the snapshot is read, and the thread stores the new snapshot *before* it looks
//! at what was queried. So either the answer is new, or its change is noticed.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use arc_swap::ArcSwap;

use super::container_id::is_container_id;
use super::inodes::Inodes;
use super::kubelet::{Kubelet, KubeletError, KubeletSettings};
use super::pod_tags::Extraction;
use super::queried::Queried;
use super::snapshot::Snapshot;
use super::workload::{Tags, WorkloadBuilder};
use super::{Cardinality, Identity, Tagger};
use crate::clock::Clock;

/// How often sources are read while no unknown workload is queried.
const INTERVAL: Duration = Duration::from_secs(10);
/// Shortest time between two readings. Each next one takes twice as long, up to the above: a
/// container sends metrics some seconds before its kubelet knows it.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// How long a failing kubelet stays unmentioned after it was mentioned.
const QUIET: Duration = Duration::from_secs(300);

/// Where tags come from.
#[derive(Clone, Debug)]
pub struct TaggerSettings {
    /// The source of pods; none without Kubernetes.
    pub kubelet: Option<KubeletSettings>,
    /// Where control groups are mounted (`/sys/fs/cgroup`).
    pub cgroup_root: PathBuf,
    /// What becomes a tag beyond what always does.
    pub extraction: Extraction,
}

/// A [`Tagger`] over control groups and a kubelet. Its thread ends when it is dropped.
pub struct LiveTagger {
    shared: Arc<Shared>,
}

struct Shared {
    has_kubelet: bool,
    pods: ArcSwap<Snapshot>,
    inodes: ArcSwap<Inodes>,
    queried: Mutex<Queried>,
    generation: AtomicU64,
    wishes: Mutex<Wishes>,
    changed: Condvar,
    on_change: Mutex<Option<Box<dyn Fn() + Send>>>,
}

/// What the thread has to do, and what it did.
#[derive(Debug, Default)]
struct Wishes {
    stop: bool,
    /// An unknown workload was queried.
    unknown: bool,
    /// An inode was queried: control groups are not walked before that.
    inodes: bool,
    /// Sources were read once.
    ready: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for LiveTagger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTagger").field("workloads", &self.workloads()).finish_non_exhaustive()
    }
}

impl LiveTagger {
    /// Starts the thread that reads the sources.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(settings: TaggerSettings) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            has_kubelet: settings.kubelet.is_some(),
            pods: ArcSwap::default(),
            inodes: ArcSwap::default(),
            queried: Mutex::new(Queried::new()),
            generation: AtomicU64::new(0),
            wishes: Mutex::default(),
            changed: Condvar::new(),
            on_change: Mutex::new(None),
        });
        let reader = Reader {
            kubelet: settings.kubelet.map(Kubelet::new),
            cgroup_root: settings.cgroup_root,
            extraction: settings.extraction,
            clock: Clock::wall(),
            failing: None,
            answered: false,
            shared: Arc::clone(&shared),
        };
        thread::Builder::new().name("tagger".to_owned()).spawn(move || reader.run())?;
        Ok(LiveTagger { shared })
    }

    /// Waits until the sources were read once, at most `within`: then first lines have their tags.
    /// True when they were.
    #[must_use]
    pub fn wait_ready(&self, within: Duration) -> bool {
        let wishes = lock(&self.shared.wishes);
        let waited = self.shared.changed.wait_timeout_while(wishes, within, |wishes| !wishes.ready);
        waited.unwrap_or_else(PoisonError::into_inner).0.ready
    }

    /// Calls `then` now and whenever the generation moves, from the tagger's thread.
    pub fn on_change(&self, then: impl Fn() + Send + 'static) {
        let mut on_change = lock(&self.shared.on_change);
        then();
        *on_change = Some(Box::new(then));
    }

    /// Pods, containers and their places known now.
    #[must_use]
    pub fn workloads(&self) -> usize {
        self.shared.pods.load().len()
    }
}

impl Drop for LiveTagger {
    fn drop(&mut self) {
        lock(&self.shared.wishes).stop = true;
        // A request on its way ends by itself; the drop does not wait for it.
        self.shared.changed.notify_all();
    }
}

impl Tagger for LiveTagger {
    fn tags(&self, identity: Identity<'_>, cardinality: Cardinality) -> Option<Tags> {
        let shared = &self.shared;
        let inodes;
        let identity = match identity {
            Identity::Inode(inode) => {
                lock(&shared.queried).remember(identity);
                inodes = shared.inodes.load();
                let Some(id) = inodes.container(inode) else {
                    shared.wish(|wishes| &mut wishes.inodes);
                    return None;
                };
                Identity::Container(id)
            }
            identity => identity,
        };
        if let (Identity::Container(id), false) = (identity, shared.has_kubelet) {
            return bare_container(id, cardinality);
        }
        lock(&shared.queried).remember(identity);
        let found = shared.pods.load().workload(identity).map(|known| known.up_to(cardinality));
        if found.is_none() && shared.has_kubelet {
            shared.wish(|wishes| &mut wishes.unknown);
        }
        found
    }

    fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }
}

/// Without an orchestrator a container has its id and nothing else.
fn bare_container(id: &[u8], cardinality: Cardinality) -> Option<Tags> {
    let id = std::str::from_utf8(id).ok().filter(|id| is_container_id(id))?;
    let mut tags = WorkloadBuilder::default();
    tags.add(Cardinality::High, "container_id", id);
    Some(Arc::new(tags.build()).up_to(cardinality))
}

impl Shared {
    fn wish(&self, of: fn(&mut Wishes) -> &mut bool) {
        // A flood of unknown identities wakes the thread once, not once each.
        if !std::mem::replace(of(&mut lock(&self.wishes)), true) {
            self.changed.notify_all();
        }
    }

    /// Moves the generation when one of these answers was given.
    fn notice<'a>(&self, mut changed: impl Iterator<Item = Identity<'a>>) {
        let mut queried = lock(&self.queried);
        if !changed.any(|identity| queried.contains(identity)) {
            return;
        }
        queried.clear();
        drop(queried);
        self.generation.fetch_add(1, Ordering::AcqRel);
        if let Some(then) = &*lock(&self.on_change) {
            then();
        }
    }
}

struct Reader {
    kubelet: Option<Kubelet>,
    cgroup_root: PathBuf,
    extraction: Extraction,
    clock: Clock,
    /// When a failure may be mentioned again, and how many were not.
    failing: Option<(Duration, u64)>,
    /// The kubelet has answered at least once.
    answered: bool,
    shared: Arc<Shared>,
}

impl Reader {
    fn run(mut self) {
        let mut with_inodes = false;
        let mut pace = INTERVAL_MIN;
        loop {
            if let Some(kubelet) = &mut self.kubelet {
                match kubelet.pods() {
                    Ok(pods) => {
                        let old = self.shared.pods.load_full();
                        let new = old.next(&pods, &self.extraction, self.clock.monotonic());
                        let new = Arc::new(new);
                        self.shared.pods.store(Arc::clone(&new));
                        self.shared.notice(new.differing(&old));
                        self.answered(pods.len());
                    }
                    Err(error) => self.failed(&error),
                }
            }
            if with_inodes {
                let old = self.shared.inodes.load_full();
                let new = Arc::new(Inodes::scan(&self.cgroup_root));
                self.shared.inodes.store(Arc::clone(&new));
                self.shared.notice(new.differing(&old).map(Identity::Inode));
            }
            let Some(woken) = self.wait(pace) else { return };
            with_inodes |= woken.inodes;
            pace =
                if woken.unknown || woken.inodes { INTERVAL_MIN } else { INTERVAL.min(pace * 2) };
        }
    }

    /// Until it is time to read again, or a query needs it; what for, `None` to stop.
    fn wait(&self, pace: Duration) -> Option<Wishes> {
        let shared = &self.shared;
        let mut wishes = lock(&shared.wishes);
        wishes.ready = true;
        shared.changed.notify_all();
        let pause = |wishes, time, until: fn(&mut Wishes) -> bool| {
            let waited =
                shared.changed.wait_timeout_while(wishes, time, move |wishes| !until(wishes));
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
        wishes = pause(wishes, INTERVAL_MIN, |wishes| wishes.stop);
        wishes = pause(wishes, pace.saturating_sub(INTERVAL_MIN), |wishes| {
            wishes.stop || wishes.unknown || wishes.inodes
        });
        if wishes.stop {
            return None;
        }
        Some(std::mem::replace(&mut *wishes, Wishes { ready: true, ..Wishes::default() }))
    }

    fn answered(&mut self, pods: usize) {
        let again = self.failing.take().is_some();
        if again || !std::mem::replace(&mut self.answered, true) {
            let url = self.kubelet.as_ref().map_or("", Kubelet::url);
            tracing::info!(target: "tagger", "{url}: {pods} pods known");
        }
    }

    fn failed(&mut self, error: &KubeletError) {
        let now = self.clock.monotonic();
        if let Some((until, unsaid)) = &mut self.failing
            && now < *until
        {
            *unsaid += 1;
            return;
        }
        let unsaid = self.failing.map_or(0, |(_, unsaid)| unsaid);
        self.failing = Some((now + QUIET, 0));
        let url = self.kubelet.as_ref().map_or("", Kubelet::url);
        let more = if unsaid > 0 { format!(" ({unsaid} more failures)") } else { String::new() };
        tracing::warn!(target: "tagger", "{url}: {error}; tags of pods stay as they are{more}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::sync::mpsc;

    const ID: &str = "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860";

    fn text(tags: &Tags) -> Vec<String> {
        tags.iter().map(|tag| String::from_utf8_lossy(tag).into_owned()).collect()
    }

    fn without_kubelet(cgroup_root: PathBuf) -> LiveTagger {
        let extraction = Extraction::default();
        LiveTagger::start(TaggerSettings { kubelet: None, cgroup_root, extraction }).unwrap()
    }

    #[test]
    fn a_container_without_orchestrator_has_its_id_at_high_cardinality() {
        let folder = tempfile::tempdir().unwrap();
        let tagger = without_kubelet(folder.path().to_path_buf());
        let id = Identity::Container(ID.as_bytes());
        assert_eq!(
            text(&tagger.tags(id, Cardinality::High).unwrap()),
            [format!("container_id:{ID}")]
        );
        assert!(tagger.tags(id, Cardinality::Orchestrator).unwrap().is_empty());
        assert!(tagger.tags(Identity::Container(b"claimed"), Cardinality::High).is_none());
        assert!(tagger.tags(Identity::Pod(b"u1"), Cardinality::High).is_none());
    }

    #[test]
    fn an_inode_is_found_after_a_query_and_moves_the_generation() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join(format!("docker-{ID}.scope"));
        std::fs::create_dir(&group).unwrap();
        let inode = Identity::Inode(std::fs::metadata(&group).unwrap().ino());
        let tagger = without_kubelet(folder.path().to_path_buf());
        assert!(tagger.wait_ready(Duration::from_secs(5)));
        let (tell, changes) = mpsc::channel();
        tagger.on_change(move || tell.send(()).unwrap_or(()));
        changes.recv_timeout(Duration::from_secs(5)).expect("the call at once");
        let before = tagger.generation();
        assert!(tagger.tags(inode, Cardinality::High).is_none());
        changes.recv_timeout(Duration::from_secs(5)).expect("the call when the inode is found");
        assert_ne!(tagger.generation(), before);
        let tags = tagger.tags(inode, Cardinality::High).expect("known now");
        assert_eq!(text(&tags), [format!("container_id:{ID}")]);
    }

    #[test]
    fn the_thread_ends_with_the_tagger() {
        let folder = tempfile::tempdir().unwrap();
        let tagger = without_kubelet(folder.path().to_path_buf());
        let shared = Arc::downgrade(&tagger.shared);
        drop(tagger);
        let end = std::time::Instant::now() + Duration::from_secs(5);
        while shared.strong_count() > 0 && std::time::Instant::now() < end {
            thread::yield_now();
        }
        assert_eq!(shared.strong_count(), 0);
    }
}
