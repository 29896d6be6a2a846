//! Which messages to look at for their schema: at most one of a topic every 30 s.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long after a sample of a topic there is no other one.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(30);
/// Topics at once; messages of further ones are never sampled.
const TOPICS_MAX: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct SchemaSampler {
    topics: Mutex<HashMap<String, Topic>>,
}

#[derive(Debug, Default)]
struct Topic {
    /// Calls since the last sample.
    weight: u64,
    last: Option<Duration>,
}

impl SchemaSampler {
    /// Counts a message of a topic at `now` (since the epoch). If it is to be sampled, for how many messages it
    /// stands, itself included.
    pub fn sample(&self, topic: &str, now: Duration) -> Option<u64> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if !topics.contains_key(topic) {
            if topics.len() >= TOPICS_MAX {
                return None;
            }
            topics.insert(topic.to_owned(), Topic::default());
        }
        let topic = topics.get_mut(topic)?;
        topic.weight += 1;
        if topic.last.is_some_and(|last| now < last + SAMPLE_INTERVAL) {
            return None;
        }
        topic.last = Some(now);
        Some(std::mem::take(&mut topic.weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_thirty_seconds_stands_for_all_since_the_last() {
        let sampler = SchemaSampler::default();
        let at = |millis: u64| Duration::from_millis(1_700_000_000_000 + millis);
        let calls = [(0, Some(1)), (1, None), (29_999, None), (30_000, Some(3)), (30_001, None)];
        for (millis, weight) in calls {
            assert_eq!(sampler.sample("orders", at(millis)), weight, "{millis}");
        }
        assert_eq!(sampler.sample("other", at(1)), Some(1));
        for topic in 0..TOPICS_MAX * 2 {
            sampler.sample(&format!("topic-{topic}"), at(0));
        }
        assert_eq!(sampler.topics.lock().unwrap().len(), TOPICS_MAX);
        assert_eq!(sampler.sample("one more", at(0)), None);
    }
}
