//! The protobuf messages of a DDSketch. proto3: what is 0 or missing is the same.

use std::collections::BTreeMap;

/// A sketch.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Message {
    #[prost(message, optional, tag = "1")]
    pub mapping: Option<IndexMapping>,
    #[prost(message, optional, tag = "2")]
    pub positive: Option<Store>,
    #[prost(message, optional, tag = "3")]
    pub negative: Option<Store>,
    #[prost(double, tag = "4")]
    pub zero_count: f64,
}

/// How values become the numbers of bins.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct IndexMapping {
    #[prost(double, tag = "1")]
    pub gamma: f64,
    #[prost(double, tag = "2")]
    pub index_offset: f64,
    /// 0 none, 1 linear, 2 quadratic, 3 cubic.
    #[prost(int32, tag = "3")]
    pub interpolation: i32,
}

/// Counts by bin: single ones, and a row of them. A writer may use either or both.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Store {
    #[prost(btree_map = "sint32, double", tag = "1")]
    pub bin_counts: BTreeMap<i32, f64>,
    /// Read packed and not packed.
    #[prost(double, repeated, packed = "true", tag = "2")]
    pub contiguous_bin_counts: Vec<f64>,
    /// The bin of the first contiguous count.
    #[prost(sint32, tag = "3")]
    pub contiguous_bin_index_offset: i32,
}

#[cfg(any(feature = "server", test))]
impl Store {
    /// How many counts it holds, zeros too.
    pub fn len(&self) -> usize {
        self.bin_counts.len() + self.contiguous_bin_counts.len()
    }

    /// Bins and their counts, without those that are 0. Ascending in each of the two parts.
    pub fn bins(&self) -> impl Iterator<Item = (i64, f64)> {
        let single = self.bin_counts.iter().map(|(bin, count)| (i64::from(*bin), *count));
        let first = i64::from(self.contiguous_bin_index_offset);
        let row = self.contiguous_bin_counts.iter().enumerate();
        let row = row.map(move |(place, count)| (first + place as i64, *count));
        single.chain(row).filter(|(_, count)| *count != 0.0)
    }
}

#[cfg(feature = "server")]
impl Store {
    /// About how much memory it takes beside itself; an entry of a map with its share of a node.
    pub fn heap_bytes(&self) -> usize {
        self.contiguous_bin_counts.capacity() * 8 + self.bin_counts.len() * 24
    }

    /// Adds the counts of `other`; false, and nothing is changed, when there would be more than `bins_max`
    /// or a bin has no number.
    pub fn merge(&mut self, other: &Store, bins_max: usize) -> bool {
        if self.bin_counts.is_empty() && self.add_in_row(other) {
            return true;
        }
        let mut union = BTreeMap::<i32, f64>::new();
        for (bin, count) in self.bins().chain(other.bins()) {
            let Ok(bin) = i32::try_from(bin) else { return false };
            *union.entry(bin).or_default() += count;
        }
        if union.len() > bins_max {
            return false;
        }
        *self = Store::of(union);
        true
    }

    /// Adds counts that all have their place in the row.
    fn add_in_row(&mut self, other: &Store) -> bool {
        let first = i64::from(self.contiguous_bin_index_offset);
        let row = first..first + self.contiguous_bin_counts.len() as i64;
        if !other.bins().all(|(bin, _)| row.contains(&bin)) {
            return false;
        }
        for (bin, count) in other.bins() {
            self.contiguous_bin_counts[(bin - first) as usize] += count;
        }
        true
    }

    /// As a row where that is about as short as single counts, as clients write it.
    fn of(bins: BTreeMap<i32, f64>) -> Store {
        let (Some((first, _)), Some((last, _))) = (bins.first_key_value(), bins.last_key_value())
        else {
            return Store::default();
        };
        let (first, span) = (*first, i64::from(*last) - i64::from(*first) + 1);
        if span > 4 * bins.len() as i64 + 64 {
            return Store { bin_counts: bins, ..Store::default() };
        }
        let mut row = vec![0.0; span as usize];
        for (bin, count) in bins {
            row[(i64::from(bin) - i64::from(first)) as usize] = count;
        }
        Store { contiguous_bin_counts: row, contiguous_bin_index_offset: first, ..Store::default() }
    }
}
