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
