//! Emptied lists of the last bucket, so that the next one need not ask for their like.

use super::gathered::Gathered;
use super::sample::{Sample, Summary};
use super::weighted::Weighted;
use crate::memory::MemoryShare;
use crate::sketch::Sketch;

/// More bytes than this of a kind are let go: two buckets would keep them for an interval, while the next
/// bucket may get the same from the allocator. With 4 MiB, 33,000 timers took 4 MiB more, and a line of theirs
/// no less time.
const SPARE_BYTES_MAX: usize = 256 << 10;

/// Emptied lists of samples.
#[derive(Debug, Default)]
pub(super) struct SpareSamples {
    plain: Vec<Vec<f64>>,
    #[expect(clippy::vec_box, reason = "they move into cells as they are")]
    weighted: Vec<Box<Weighted>>,
    #[expect(clippy::vec_box, reason = "they move into cells as they are")]
    gathered: Vec<Box<Gathered>>,
    bytes: usize,
}

impl SpareSamples {
    /// Forgets what is left.
    pub fn clear(&mut self) {
        *self = SpareSamples::default();
    }

    /// Keeps the memory of samples that are not needed any more.
    pub fn keep_plain(&mut self, mut values: Vec<f64>) {
        if self.take(values.capacity() * size_of::<f64>()) {
            values.clear();
            self.plain.push(values);
        }
    }

    /// The same for samples with weights.
    pub fn keep_weighted(&mut self, mut weighted: Box<Weighted>) {
        if self.take(weighted.list.capacity() * size_of::<Sample>()) {
            weighted.summary = Summary::EMPTY;
            weighted.list.clear();
            self.weighted.push(weighted);
        }
    }

    /// The same for those past the ones that are kept.
    pub fn keep_gathered(&mut self, mut gathered: Box<Gathered>) {
        if self.take(gathered.heap_bytes()) {
            gathered.clear();
            self.gathered.push(gathered);
        }
    }

    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= SPARE_BYTES_MAX;
        self.bytes += if fits { bytes } else { 0 };
        fits
    }

    /// An empty list, charged if it has room already.
    pub fn plain(&mut self, memory: &mut MemoryShare) -> Vec<f64> {
        let values = self.plain.pop().unwrap_or_default();
        self.lend(values.capacity() * size_of::<f64>(), memory);
        values
    }

    /// An empty list of samples with weights, charged if it has room already.
    pub fn weighted(&mut self, memory: &mut MemoryShare) -> Box<Weighted> {
        let weighted = self.weighted.pop().unwrap_or_default();
        self.lend(weighted.list.capacity() * size_of::<Sample>(), memory);
        weighted
    }

    /// An empty histogram with its list, charged.
    pub fn gathered(&mut self, memory: &mut MemoryShare) -> Box<Gathered> {
        let Some(gathered) = self.gathered.pop() else {
            let gathered = Box::<Gathered>::default();
            memory.charge(gathered.heap_bytes());
            return gathered;
        };
        self.lend(gathered.heap_bytes(), memory);
        gathered
    }

    fn lend(&mut self, bytes: usize, memory: &mut MemoryShare) {
        self.bytes -= bytes;
        memory.charge(bytes);
    }
}

/// Emptied sketches.
#[derive(Debug, Default)]
pub(super) struct SpareSketches {
    sketches: Vec<Sketch>,
    bytes: usize,
}

impl SpareSketches {
    /// Keeps the memory of sketches in place of what was kept before.
    pub fn replace(&mut self, sketches: impl Iterator<Item = Sketch>) {
        *self = SpareSketches::default();
        for mut sketch in sketches {
            let bytes = self.bytes + sketch.heap_bytes();
            if bytes <= SPARE_BYTES_MAX {
                sketch.clear();
                self.sketches.push(sketch);
                self.bytes = bytes;
            }
        }
    }

    /// An empty sketch, charged if it has room already.
    pub fn take(&mut self, memory: &mut MemoryShare) -> Sketch {
        if !memory.has_room() {
            return Sketch::default();
        }
        let sketch = self.sketches.pop().unwrap_or_default();
        self.bytes -= sketch.heap_bytes();
        memory.charge(sketch.heap_bytes());
        sketch
    }
}
