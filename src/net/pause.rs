//! How long to leave coalesced sockets alone after they were drained. Pure policy.
//!
//! Waking for every datagram costs more than reading it. After a drain the lane waits a moment while
//! the receive buffer takes the arrivals, and reads them all at once. The wait ends early for a
//! command or an urgent socket; it does not happen when the buffer could fill, when the open bucket
//! ends first, or while the kernel drops datagrams anyway.

use std::time::Duration;

/// Least granted receive buffer at which a datagram socket may wait: 1 MiB.
pub(super) const BUFFER_BYTES_MIN: usize = 1 << 20;

/// The part of a buffer that arrivals may fill during a pause, at the rate of the last turn.
const FILL_SHARE: f64 = 0.25;

/// What the kernel charges for a datagram beside twice its bytes: its bookkeeping (768 bytes for a
/// short one on Linux), rounded up.
const DATAGRAM_OVERHEAD_BYTES: u64 = 1024;

/// Bytes in flight a TCP connection may hold before its writer waits, at the least.
pub(super) const STREAM_BUFFER_BYTES: usize = 128 << 10;

/// Decides about pauses.
#[derive(Debug)]
pub(super) struct Pacer {
    pause: Duration,
    suspended: bool,
    fill: f64,
}

impl Pacer {
    /// Pauses of `pause`, cut to whole milliseconds because the poll waits in those.
    pub(super) fn new(pause: Duration) -> Self {
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        Pacer { pause: Duration::from_millis(millis), suspended: false, fill: 0.0 }
    }

    /// Whether pauses happen at all.
    pub(super) fn is_on(&self) -> bool {
        !self.pause.is_zero()
    }

    /// Notes what one coalesced socket gave in this turn, against the buffer it queues in.
    pub(super) fn note(&mut self, datagrams: u64, bytes: u64, buffer_bytes: usize) {
        let charge = 2 * bytes + DATAGRAM_OVERHEAD_BYTES * datagrams;
        // The kernel doubles the granted size for the same bookkeeping.
        let share = charge as f64 / (2 * buffer_bytes.max(1)) as f64;
        self.fill = self.fill.max(share);
    }

    /// The pause after a turn that drained everything, if there is to be one. `gathered` is the time
    /// since the last drain, in which the noted datagrams came.
    pub(super) fn after_drain(
        &mut self,
        gathered: Duration,
        deadline: Duration,
    ) -> Option<Duration> {
        let fill = std::mem::take(&mut self.fill);
        // Never more than one: a lane the scheduler let wait may be made to wait again.
        let pauses_gathered = (gathered.as_secs_f64() / self.pause.as_secs_f64()).min(1.0);
        let fits = fill > 0.0 && fill <= FILL_SHARE * pauses_gathered;
        let wanted = self.is_on() && !self.suspended && fits && deadline > self.pause;
        wanted.then_some(self.pause)
    }

    /// Learns at every tick whether the kernel dropped datagrams since the last one: if it did, there
    /// is no pause until a tick without drops.
    pub(super) fn suspend(&mut self, kernel_dropped: bool) {
        self.suspended = kernel_dropped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    const FAR: Duration = Duration::from_secs(5);

    #[track_caller]
    fn pauses(datagrams: u64, bytes: u64, buffer: usize, gathered: Duration, expect: bool) {
        let mut pacer = Pacer::new(MILLI);
        pacer.note(datagrams, bytes, buffer);
        assert_eq!(pacer.after_drain(gathered, FAR), expect.then_some(MILLI));
    }

    #[test]
    fn everyday_rates_pause_and_rates_that_could_fill_the_buffer_do_not() {
        pauses(50, 50 * 68, 4 << 20, MILLI, true);
        pauses(1000, 1000 * 68, 4 << 20, MILLI, true);
        pauses(1000, 1000 * 1432, 4 << 20, MILLI, false);
        pauses(1000, 1000 * 68, 1 << 20, MILLI, false);
        pauses(400, 400 * 68, 1 << 20, MILLI, true);
        // The same number gathered in a shorter time is a higher rate; over a longer time it is still
        // a buffer that was that full.
        pauses(400, 400 * 68, 1 << 20, MILLI / 4, false);
        pauses(1000, 1000 * 68, 1 << 20, MILLI * 4, false);
    }

    #[test]
    fn nothing_read_is_no_reason_to_pause() {
        pauses(0, 0, 4 << 20, MILLI, false);
    }

    #[test]
    fn the_end_of_the_bucket_comes_before_the_pause() {
        let mut pacer = Pacer::new(MILLI);
        pacer.note(1, 68, 4 << 20);
        assert_eq!(pacer.after_drain(MILLI, MILLI), None);
    }

    #[test]
    fn kernel_drops_suspend_pausing_until_a_tick_without_them() {
        let mut pacer = Pacer::new(MILLI);
        let mut asks = |dropped| {
            pacer.suspend(dropped);
            pacer.note(1, 68, 4 << 20);
            pacer.after_drain(MILLI, FAR)
        };
        assert_eq!([asks(true), asks(false)], [None, Some(MILLI)]);
    }

    #[test]
    fn a_pause_below_a_millisecond_is_off() {
        let mut pacer = Pacer::new(Duration::from_micros(900));
        pacer.note(1, 68, 4 << 20);
        assert!(!pacer.is_on());
        assert_eq!(pacer.after_drain(MILLI, FAR), None);
    }
}
