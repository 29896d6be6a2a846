//! Which metrics are dropped, for subscribers of the event bus: line by line, since a shard counts its drops and
//! names none of them.

use crate::aggregate::Shard;
use crate::context::DropReason;
use crate::protocol::{self, Message, Options, ParseError};
use crate::telemetry::{Event, EventKind, Hub};

/// As [`Shard::datagram`], one line at a time; emits an event for every metric that is dropped.
#[cold]
#[inline(never)]
pub(super) fn datagram(
    (shard, hub, options): (&mut Shard, &Hub, Options),
    (bytes, sender, eol_required): (&[u8], &[u8], bool),
    refused: &mut dyn FnMut(u64, &[u8], ParseError),
) {
    let first = shard.counts().received;
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        let before = shard.counts().dropped;
        let number = shard.counts().received - first;
        shard.datagram(piece, sender, eol_required, |of_piece, line, error| {
            refused(number + of_piece, line, error);
        });
        let after = shard.counts().dropped;
        let grown = |reason: &&DropReason| after[**reason as usize] > before[**reason as usize];
        if let Some(reason) = DropReason::ALL.iter().find(grown) {
            tell(hub, options, piece, *reason);
        }
    }
}

fn tell(hub: &Hub, options: Options, piece: &[u8], reason: DropReason) {
    for line in protocol::lines(piece) {
        if let Ok(Message::Metric(metric)) = protocol::read(line.bytes, options) {
            hub.emit(EventKind::MetricRejected, || Event::MetricRejected {
                reason: reason.word(),
                name: metric.name,
            });
        }
    }
}
