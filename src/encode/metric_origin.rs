//! Who a point claims to come from, and the field that says it.

use crate::protobuf::{BYTES, VARINT, key, put_head, put_integer, put_varint, varint_len};

/// Who a point claims to come from (v2 series and sketches). The Agent's own product is 10 and the
/// category of its DogStatsD 10; nothing is claimed unless configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricOrigin {
    /// `origin_product`
    pub product: u32,
    /// `origin_category`
    pub category: u32,
    /// `origin_service`
    pub service: u32,
}

/// A Metadata {1: Origin {4: product, 5: category, 6: service}}.
pub(super) fn put_metadata(into: &mut Vec<u8>, metadata: u8, origin: MetricOrigin) {
    let numbers = [(4, origin.product), (5, origin.category), (6, origin.service)];
    let field = |number: u32| if number == 0 { 0 } else { 1 + varint_len(u64::from(number)) };
    let length: usize = numbers.iter().map(|(_, number)| field(*number)).sum();
    put_head(into, metadata, 1 + varint_len(length as u64) + length);
    into.push(key(1, BYTES));
    put_varint(into, length as u64);
    for (place, number) in numbers {
        put_integer(into, key(place, VARINT), u64::from(number));
    }
}
