//! From the global cells of one flush to parts, one topic and partition each.

use std::collections::HashMap;
use std::sync::Arc;

use super::outgoing::OutgoingPart;
use crate::flush::FlushView;
use crate::part::{EncodedPart, Head, Key, Packer, PartWriter};

/// A topic and how many partitions its cells are spread over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// At least 1.
    pub partitions: u32,
}

/// Where parts go.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Before a move.
    pub now: Topic,
    /// The topic to move to, and the first second of the intervals that go there.
    pub next: Option<(Topic, u64)>,
}

impl Topics {
    /// The topic of the interval that starts at `start`.
    #[must_use]
    pub fn of(&self, start: u64) -> &Topic {
        match &self.next {
            Some((next, from)) if start >= *from => next,
            _ => &self.now,
        }
    }
}

/// What one flush gives.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EncodedFlush {
    /// Parts, by partition.
    pub parts: Vec<OutgoingPart>,
    /// Cells that no part can hold.
    pub unforwardable: u64,
}

/// Encodes flushes.
pub struct Parts {
    topics: Topics,
    sender: [u8; 16],
    host: String,
    packer: Packer,
    /// The next sequence of each partition, of the interval that was encoded last.
    sequences: (u64, HashMap<u32, u32>),
}

impl Parts {
    /// For one run of a process: `sender` is random, new at every start; `host` is for people.
    #[must_use]
    pub fn new(topics: Topics, sender: [u8; 16], host: String) -> Self {
        let sequences = Default::default();
        Parts { topics, sender, host, packer: Packer::new(), sequences }
    }

    /// The parts of a flush, built at that time (Unix, in milliseconds).
    pub fn encode(&mut self, flush: &FlushView<'_>, built_ms: u64) -> EncodedFlush {
        let (start, interval) = (flush.start, u32::try_from(flush.interval).unwrap_or(u32::MAX));
        let mut encoded = EncodedFlush::default();
        let Topic { name: topic, partitions } = self.topics.of(start).clone();
        if self.sequences.0 != start {
            self.sequences = (start, HashMap::new());
        }
        let sequences = &mut self.sequences.1;
        let mut writers: HashMap<u32, PartWriter> = HashMap::new();
        let mut keep = |partition: u32, part: EncodedPart, sequences: &mut HashMap<u32, u32>| {
            sequences.insert(partition, part.id.sequence + 1);
            encoded.parts.push(OutgoingPart {
                topic: Arc::clone(&topic),
                partition,
                start,
                interval,
                cells: u64::from(part.cells),
                record: part.bytes,
            });
        };
        let (packer, mut refused) = (&mut self.packer, (0, None));
        let (sender, host) = (self.sender, &self.host);
        flush.global_cells(&mut |cell| {
            let Some(key) = Key::new(cell.name, cell.tags.iter()) else {
                refused.0 += 1;
                refused.1.get_or_insert("a line feed in a name or tag");
                return;
            };
            let partition = key.partition(partitions);
            let writer = writers.entry(partition).or_insert_with(|| {
                let sequence = sequences.get(&partition).copied().unwrap_or_default();
                let host = host.clone();
                PartWriter::new(Head {
                    sender,
                    host,
                    start,
                    interval,
                    partition,
                    partitions,
                    sequence,
                    built_ms,
                    ..Head::default()
                })
            });
            match writer.push(&key, cell.stamp, cell.style, &cell.value, packer) {
                Ok(Some(part)) => keep(partition, part, sequences),
                Ok(None) => {}
                Err(error) => {
                    refused.0 += 1;
                    refused.1.get_or_insert(error.reason());
                }
            }
        });
        let mut writers: Vec<(u32, PartWriter)> = writers.into_iter().collect();
        writers.sort_by_key(|(partition, _)| *partition);
        for (partition, mut writer) in writers {
            if let Some(part) = writer.finish(packer) {
                keep(partition, part, sequences);
            }
        }
        encoded.unforwardable = refused.0;
        if let (cells @ 1.., Some(why)) = refused {
            tracing::warn!(target: "global", "{cells} global series could not be encoded ({why})");
        }
        encoded
    }
}
