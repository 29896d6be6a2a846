//! Which processes are alive, according to their messages.
//!
//! A process (a *runtime id*) lives while it was heard of within 150 s and did not say goodbye. Libraries
//! send one more heartbeat after `app-closing`, so a closed id stays dead for 10 minutes, unless it
//! starts again. Each interval every group of equal tags gives the number of its live ids, and 0 for
//! 5 minutes after the last one, so that a graph falls to 0 and does not just end.
//!
//! Memory: at most [`RUNTIMES_MAX`] ids of at most [`ID_BYTES_MAX`] bytes and as many groups; what is
//! past it is refused and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::TagList;

/// Silence after which a process counts as gone; clients speak every 60 s.
const LIVE: Duration = Duration::from_secs(150);
/// How long a closed id takes no further message for a sign of life.
const CLOSED: Duration = Duration::from_secs(600);
/// How long a group without a live process is reported as 0.
const ZEROS: Duration = Duration::from_secs(300);
/// Processes, and groups, at once.
pub(super) const RUNTIMES_MAX: usize = 10_000;
/// A UUID has 36 bytes; some clients add to it.
const ID_BYTES_MAX: usize = 256;
/// Service, env and versions together.
const TAGS_BYTES_MAX: usize = 2048;

/// Every process that sent a message lately.
#[derive(Debug, Default)]
pub(super) struct Runtimes {
    runtimes: HashMap<Box<str>, Runtime>,
    groups: HashMap<Arc<TagList>, Group>,
}

#[derive(Debug)]
struct Runtime {
    group: Arc<TagList>,
    seen: Duration,
    closed: Option<Duration>,
}

impl Runtime {
    fn is_live(&self, now: Duration) -> bool {
        self.closed.is_none() && now.saturating_sub(self.seen) <= LIVE
    }
}

#[derive(Debug)]
struct Group {
    /// As its key.
    tags: Arc<TagList>,
    live: u64,
    /// When a process of it was last alive.
    last: Duration,
}

/// No room for another process or group; or a text that is longer than any client's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Runtimes {
    /// A message of a process, at `now`. What has no id is not followed.
    pub fn heard(&mut self, id: &str, tags: &TagList, now: Duration) -> Result<(), Full> {
        if id.is_empty() {
            return Ok(());
        }
        if id.len() > ID_BYTES_MAX || tags.raw().0.len() > TAGS_BYTES_MAX {
            return Err(Full);
        }
        let known = self.runtimes.get(id);
        let closed = known.and_then(|runtime| runtime.closed);
        if closed.is_some_and(|closed| now.saturating_sub(closed) < CLOSED) {
            return Ok(());
        }
        if known.is_none() && self.runtimes.len() >= RUNTIMES_MAX {
            return Err(Full);
        }
        let group = self.group(tags, now)?;
        let runtime = Runtime { group, seen: now, closed: None };
        match self.runtimes.get_mut(id) {
            Some(known) => *known = runtime,
            None => drop(self.runtimes.insert(id.into(), runtime)),
        }
        Ok(())
    }

    /// The process ends.
    pub fn closing(&mut self, id: &str, now: Duration) {
        if let Some(runtime) = self.runtimes.get_mut(id) {
            runtime.closed.get_or_insert(now);
        }
    }

    /// The process begins, also one that was closed under the same id.
    pub fn started(&mut self, id: &str, tags: &TagList, now: Duration) -> Result<(), Full> {
        if let Some(runtime) = self.runtimes.get_mut(id) {
            runtime.closed = None;
        }
        self.heard(id, tags, now)
    }

    /// The group of these tags, of which a process is alive.
    fn group(&mut self, tags: &TagList, now: Duration) -> Result<Arc<TagList>, Full> {
        if let Some(group) = self.groups.get_mut(tags) {
            group.last = now;
            return Ok(Arc::clone(&group.tags));
        }
        if self.groups.len() >= RUNTIMES_MAX {
            return Err(Full);
        }
        let tags = Arc::new(tags.clone());
        let group = Group { tags: Arc::clone(&tags), live: 0, last: now };
        self.groups.insert(Arc::clone(&tags), group);
        Ok(tags)
    }

    /// The live processes of every group that has any or had lately; forgets the others.
    pub fn counts(&mut self, now: Duration) -> Vec<(Arc<TagList>, u64)> {
        self.groups.values_mut().for_each(|group| group.live = 0);
        self.runtimes.retain(|_, runtime| match runtime.closed {
            Some(closed) => now.saturating_sub(closed) < CLOSED,
            None => runtime.is_live(now),
        });
        for runtime in self.runtimes.values().filter(|runtime| runtime.is_live(now)) {
            if let Some(group) = self.groups.get_mut(&runtime.group) {
                group.live += 1;
                group.last = now;
            }
        }
        self.groups.retain(|_, group| now.saturating_sub(group.last) <= ZEROS);
        self.groups.iter().map(|(tags, group)| (Arc::clone(tags), group.live)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(service: &str) -> TagList {
        let mut tags = TagList::default();
        tags.pair("service", service.as_bytes());
        tags
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000_000 + seconds)
    }

    /// `service count`, in order.
    fn counts(runtimes: &mut Runtimes, seconds: u64) -> Vec<String> {
        let text = |tags: &TagList| {
            String::from_utf8_lossy(tags.iter().next().expect("a tag")).into_owned()
        };
        let mut counts: Vec<String> = (runtimes.counts(at(seconds)).iter())
            .map(|(tags, count)| format!("{} {count}", text(tags)))
            .collect();
        counts.sort();
        counts
    }

    #[test]
    fn processes_of_equal_tags_are_counted_together() {
        let mut runtimes = Runtimes::default();
        for (id, service) in [("1", "a"), ("2", "a"), ("3", "b"), ("2", "a"), ("", "c")] {
            runtimes.heard(id, &tags(service), at(0)).expect("room");
        }
        assert_eq!(counts(&mut runtimes, 10), ["service:a 2", "service:b 1"]);
    }

    #[test]
    fn silence_of_150_seconds_ends_a_process_and_zeros_follow_for_5_minutes() {
        let mut runtimes = Runtimes::default();
        runtimes.heard("1", &tags("a"), at(0)).expect("room");
        assert_eq!(counts(&mut runtimes, 150), ["service:a 1"]);
        assert_eq!(counts(&mut runtimes, 151), ["service:a 0"]);
        assert_eq!(counts(&mut runtimes, 450), ["service:a 0"]);
        assert_eq!(counts(&mut runtimes, 451), [""; 0]);
        assert!(runtimes.groups.is_empty() && runtimes.runtimes.is_empty());
    }

    #[test]
    fn a_heartbeat_after_the_end_does_not_revive_for_10_minutes() {
        let mut runtimes = Runtimes::default();
        runtimes.heard("1", &tags("a"), at(0)).expect("room");
        runtimes.closing("1", at(1));
        runtimes.heard("1", &tags("a"), at(2)).expect("room");
        assert_eq!(counts(&mut runtimes, 10), ["service:a 0"]);
        runtimes.closing("1", at(500)); // again: the first goodbye counts
        runtimes.heard("1", &tags("a"), at(600)).expect("room");
        assert_eq!(counts(&mut runtimes, 600), [""; 0]);
        runtimes.heard("1", &tags("a"), at(601)).expect("room");
        assert_eq!(counts(&mut runtimes, 601), ["service:a 1"]);
    }

    #[test]
    fn a_start_revives() {
        let mut runtimes = Runtimes::default();
        runtimes.started("1", &tags("a"), at(0)).expect("room");
        runtimes.closing("1", at(1));
        runtimes.started("1", &tags("a"), at(2)).expect("room");
        assert_eq!(counts(&mut runtimes, 10), ["service:a 1"]);
    }

    #[test]
    fn a_process_that_changes_its_service_leaves_the_old_one() {
        let mut runtimes = Runtimes::default();
        runtimes.heard("1", &tags("a"), at(0)).expect("room");
        runtimes.heard("1", &tags("b"), at(1)).expect("room");
        assert_eq!(counts(&mut runtimes, 10), ["service:a 0", "service:b 1"]);
    }

    #[test]
    fn processes_and_groups_are_bounded() {
        let mut runtimes = Runtimes::default();
        for id in 0..RUNTIMES_MAX {
            runtimes.heard(&id.to_string(), &tags("a"), at(0)).expect("room");
        }
        assert_eq!(runtimes.heard("one more", &tags("a"), at(0)), Err(Full));
        assert_eq!(runtimes.heard("17", &tags("a"), at(0)), Ok(()), "a known one");
        for group in 0..RUNTIMES_MAX - 1 {
            runtimes.heard("17", &tags(&group.to_string()), at(1)).expect("room");
        }
        assert_eq!(runtimes.heard("17", &tags("one more"), at(1)), Err(Full));
        assert_eq!(runtimes.heard(&"1".repeat(257), &tags("a"), at(1)), Err(Full));
        assert_eq!(runtimes.heard("18", &tags(&"a".repeat(3000)), at(1)), Err(Full));
    }

    #[test]
    fn a_clock_that_steps_back_ends_nothing() {
        let mut runtimes = Runtimes::default();
        runtimes.heard("1", &tags("a"), at(100)).expect("room");
        assert_eq!(counts(&mut runtimes, 0), ["service:a 1"]);
    }
}
