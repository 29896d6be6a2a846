//! The order of writes inside a bucket, in 32 bits beside each cell.

use std::time::Duration;

/// When a cell was last written: ticks since the start of its bucket, larger for every line of one
/// shard, comparable between shards to the batch.
pub type WriteOrder = u32;

/// Gives every line of a shard a larger [`WriteOrder`] than the one before. Orders of different shards
/// can be compared: an order is at least the time since the start of the bucket, in ticks of a 2^31st
/// of the interval (4.7 ns for 10 s), read once per batch.
#[derive(Clone, Copy, Debug)]
pub struct WriteOrders {
    tick_nanos: u128,
    last: WriteOrder,
    /// How far the lines that were announced stand apart: 1, and 0 where the numbers end.
    step: WriteOrder,
}

impl WriteOrders {
    /// Orders for buckets of this length.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        WriteOrders { tick_nanos: (interval.as_nanos() >> 31) + 1, last: 0, step: 0 }
    }

    /// A new bucket: orders begin again.
    pub fn reset(&mut self) {
        self.last = 0;
    }

    /// A batch was received so long after the bucket's start.
    pub fn batch(&mut self, since_start: Duration) {
        let ticks = since_start.as_nanos() / self.tick_nanos;
        self.last = self.last.max(WriteOrder::try_from(ticks).unwrap_or(WriteOrder::MAX));
    }

    /// The time of an order since the start of its bucket; later by at most a tick for every line.
    #[must_use]
    pub fn since_start(order: WriteOrder, interval: Duration) -> Duration {
        let nanos = u128::from(order) * WriteOrders::new(interval).tick_nanos;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// At most so many lines follow that take [`WriteOrders::advance_announced`].
    #[inline]
    pub fn announce(&mut self, lines: usize) {
        let left = WriteOrder::MAX - self.last;
        self.step = WriteOrder::from(left as usize >= lines);
    }

    /// The order of the next line of those that were announced: without asking where the numbers end.
    #[inline(always)]
    pub fn advance_announced(&mut self) -> WriteOrder {
        self.last = self.last.wrapping_add(self.step);
        self.last
    }

    /// The order of the next line.
    #[inline]
    pub fn advance(&mut self) -> WriteOrder {
        self.last = self.last.saturating_add(1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_lines_have_later_orders_and_batches_follow_the_clock() {
        let mut early = WriteOrders::new(Duration::from_secs(10));
        early.batch(Duration::from_secs(1));
        let first = early.advance();
        assert!(early.advance() > first);
        let mut late = WriteOrders::new(Duration::from_secs(10));
        late.batch(Duration::from_millis(1_001));
        assert!(late.advance() > early.advance());
        late.batch(Duration::ZERO);
        assert!(late.advance() > first);
        late.reset();
        assert_eq!(late.advance(), 1);
    }

    #[test]
    fn announced_lines_have_later_orders_until_the_numbers_end() {
        let mut orders = WriteOrders::new(Duration::from_secs(10));
        let end = WriteOrders::since_start(WriteOrder::MAX - 10, Duration::from_secs(10));
        orders.batch(end);
        orders.announce(3);
        let first = orders.advance();
        assert_eq!(
            [orders.advance_announced(), orders.advance_announced()],
            [first + 1, first + 2]
        );
        orders.announce(1_000);
        assert_eq!((orders.advance_announced(), orders.advance()), (first + 2, first + 3));
        (0..20).for_each(|_| _ = orders.advance());
        orders.announce(1);
        assert_eq!(
            (orders.advance_announced(), orders.advance()),
            (WriteOrder::MAX, WriteOrder::MAX)
        );
    }

    #[test]
    fn an_order_is_a_time_since_the_start_of_its_bucket() {
        for seconds in [1, 10, 3_600] {
            let interval = Duration::from_secs(seconds);
            for share in [0.0, 0.001, 0.5, 0.999, 1.5] {
                let time = interval.mul_f64(share);
                let mut orders = WriteOrders::new(interval);
                orders.batch(time);
                let told = WriteOrders::since_start(orders.advance(), interval);
                assert!(told.abs_diff(time) < Duration::from_micros(10), "{told:?} for {time:?}");
            }
        }
    }
}
