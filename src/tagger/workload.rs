//! The tags of one workload, by cardinality.

use std::sync::Arc;

use super::Cardinality;

/// Bytes of one tag at most; annotations may be a hundred times as long and are left out then.
const TAG_BYTES_MAX: usize = 2_048;
/// Tags of one workload and level at most.
const TAGS_MAX: usize = 256;

/// The tags of a container or pod: unique, sorted within each level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Low, then orchestrator, then high.
    tags: Box<[Box<[u8]>]>,
    /// The number of tags up to each of these levels.
    low: usize,
    orchestrator: usize,
}

impl Workload {
    /// The tags up to a level.
    #[must_use]
    pub fn up_to(self: &Arc<Self>, cardinality: Cardinality) -> Tags {
        let count = match cardinality {
            Cardinality::None => 0,
            Cardinality::Low => self.low,
            Cardinality::Orchestrator => self.orchestrator,
            Cardinality::High => self.tags.len(),
        };
        Tags { workload: Arc::clone(self), count }
    }
}

/// An answer of a tagger: cheap to hold, independent of what the tagger learns later.
#[derive(Clone, Debug)]
pub struct Tags {
    workload: Arc<Workload>,
    count: usize,
}

impl Tags {
    /// `key:value`, each once, none with a newline.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.workload.tags[..self.count].iter().map(AsRef::as_ref)
    }

    /// True without any tag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Gathers the tags of a workload.
#[derive(Clone, Debug, Default)]
pub struct WorkloadBuilder {
    levels: [Vec<Box<[u8]>>; 3],
}

impl WorkloadBuilder {
    /// Adds `key:value` at this level and above, unless one of both is empty or they are too long
    /// together. Control characters become spaces: a newline parts tags inside of whippet.
    pub fn add(&mut self, level: Cardinality, key: &str, value: &str) -> &mut Self {
        let at = match level {
            Cardinality::None => return self,
            Cardinality::Low => 0,
            Cardinality::Orchestrator => 1,
            Cardinality::High => 2,
        };
        let tags = &mut self.levels[at];
        let bytes = key.len() + value.len() + 1;
        if key.is_empty() || value.is_empty() || bytes > TAG_BYTES_MAX || tags.len() >= TAGS_MAX {
            return self;
        }
        let clean = |byte: u8| if byte.is_ascii_control() { b' ' } else { byte };
        tags.push(format!("{key}:{value}").into_bytes().into_iter().map(clean).collect());
        self
    }

    /// The workload; a tag of a lower level does not stand in a higher one again.
    #[must_use]
    pub fn build(&self) -> Workload {
        let mut tags: Vec<Box<[u8]>> = Vec::new();
        let mut ends = [0; 3];
        for (level, end) in self.levels.iter().zip(&mut ends) {
            let mut level = level.clone();
            level.sort_unstable();
            level.dedup();
            level.retain(|tag| !tags.contains(tag));
            tags.append(&mut level);
            *end = tags.len();
        }
        Workload { tags: tags.into(), low: ends[0], orchestrator: ends[1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tags: &Tags) -> String {
        let tags: Vec<_> =
            tags.iter().map(|tag| String::from_utf8_lossy(tag).into_owned()).collect();
        tags.join(" ")
    }

    #[test]
    fn each_level_holds_those_below() {
        let mut builder = WorkloadBuilder::default();
        builder
            .add(Cardinality::High, "id", "7")
            .add(Cardinality::Low, "b", "1")
            .add(Cardinality::Low, "a", "1")
            .add(Cardinality::Low, "b", "1")
            .add(Cardinality::Orchestrator, "pod", "p")
            .add(Cardinality::High, "a", "1")
            .add(Cardinality::None, "never", "x");
        let workload = Arc::new(builder.build());
        assert_eq!(text(&workload.up_to(Cardinality::None)), "");
        assert!(workload.up_to(Cardinality::None).is_empty());
        assert_eq!(text(&workload.up_to(Cardinality::Low)), "a:1 b:1");
        assert_eq!(text(&workload.up_to(Cardinality::Orchestrator)), "a:1 b:1 pod:p");
        assert_eq!(text(&workload.up_to(Cardinality::High)), "a:1 b:1 pod:p id:7");
    }

    #[test]
    fn what_is_no_tag_is_left_out() {
        let mut builder = WorkloadBuilder::default();
        builder
            .add(Cardinality::Low, "", "x")
            .add(Cardinality::Low, "x", "")
            .add(Cardinality::Low, "long", &"v".repeat(TAG_BYTES_MAX))
            .add(Cardinality::Low, "lines", "a\nb");
        (0..2 * TAGS_MAX).for_each(|number| {
            builder.add(Cardinality::High, "n", &number.to_string());
        });
        let workload = Arc::new(builder.build());
        assert_eq!(text(&workload.up_to(Cardinality::Low)), "lines:a b");
        assert_eq!(workload.up_to(Cardinality::High).iter().count(), 1 + TAGS_MAX);
    }
}
