//! The facts. A new one needs a variant, a kind and a line in [`Event::kind`].

use std::time::Duration;

/// The way a packet came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// A UDP datagram.
    Udp,
    /// A datagram on a unix socket.
    UnixDatagram,
    /// A frame on a unix stream connection.
    UnixStream,
    /// Whole lines on a TCP connection.
    Tcp,
    /// The body of a request over HTTP.
    Http,
    /// From inside the process.
    Embedded,
}

/// Why a request has to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCause<'a> {
    /// The HTTP status of the answer.
    Status(u16),
    /// There was no answer; where it failed, as counters spell it.
    Error(&'a str),
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident),* $(,)?) => {
        /// One bit each in the hub's mask.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum EventKind {
            $($(#[$doc])* $kind),*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$kind),*];
        }

        impl Event<'_> {
            /// The kind of this fact.
            #[must_use]
            pub fn kind(&self) -> EventKind {
                match self {
                    $(Event::$kind { .. } => EventKind::$kind),*
                }
            }
        }
    };
}

kinds! {
    /// A packet came in; per packet.
    PacketReceived,
    /// A packet was longer than the buffer.
    PacketTruncated,
    /// A line was refused by the reader; comes in bursts.
    ParseFailed,
    /// A metric was refused after it was read; comes in bursts.
    MetricRejected,
    /// A limit on contexts was hit; once per flush.
    ContextLimitReached,
    /// A flush began.
    FlushStarted,
    /// A flush ended.
    FlushCompleted,
    /// A request body is ready.
    PayloadBuilt,
    /// A request was accepted.
    PayloadSent,
    /// A request failed and will be tried again.
    PayloadRetried,
    /// Something built will not arrive.
    PayloadDropped,
    /// Settings changed while running.
    ConfigReloaded,
    /// A listener opened, closed or failed.
    ListenerStateChanged,
    /// A part of the program failed.
    ComponentFailed,
    /// The program was asked to end.
    ShutdownStarted,
    /// The program ends.
    ShutdownCompleted,
}

impl EventKind {
    /// How many kinds there are.
    pub const COUNT: usize = EventKind::ALL.len();

    /// Its bit in the mask.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }
}

const _: () = assert!(EventKind::COUNT <= 64, "the mask has 64 bits");

/// Something that happened, borrowed from the code that saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A packet came in.
    PacketReceived {
        /// How.
        transport: Transport,
        /// Its content.
        bytes: &'a [u8],
        /// The sender's process, where the kernel reports it.
        pid: Option<i32>,
    },
    /// A packet was longer than the buffer; its tail is gone.
    PacketTruncated {
        /// How it came.
        transport: Transport,
        /// The size of the buffer.
        buffer_bytes: usize,
    },
    /// A line was refused by the reader.
    ParseFailed {
        /// How it came.
        transport: Transport,
        /// The reason, as counters spell it.
        reason: &'static str,
        /// The line, at most its first 256 bytes.
        line: &'a [u8],
    },
    /// A metric was refused after it was read.
    MetricRejected {
        /// The reason, as counters spell it.
        reason: &'static str,
        /// Its name.
        name: &'a [u8],
    },
    /// A limit on contexts was hit.
    ContextLimitReached {
        /// The contexts that may be alive at once (a name's own limit is lower).
        limit: usize,
        /// Lines refused or folded since the last such fact.
        refused: u64,
    },
    /// A flush began.
    FlushStarted {
        /// Unix seconds: the start of the bucket.
        bucket_start: i64,
        /// Contexts in it.
        contexts: usize,
    },
    /// A flush ended.
    FlushCompleted {
        /// What it took, delivery excluded where that is another thread's work.
        duration: Duration,
        /// Series written.
        series: usize,
        /// Sketches or distributions written.
        sketches: usize,
        /// Events written.
        events: usize,
        /// Service checks written.
        checks: usize,
        /// Points in all.
        points: usize,
    },
    /// A request body is ready.
    PayloadBuilt {
        /// The route's label.
        route: &'static str,
        /// Items in it.
        items: usize,
        /// Bytes before compression.
        raw_bytes: usize,
        /// Bytes after it.
        compressed_bytes: usize,
    },
    /// A request was accepted.
    PayloadSent {
        /// The endpoint, without secrets.
        destination: &'a str,
        /// Bytes sent.
        bytes: usize,
        /// The HTTP status.
        status: u16,
        /// What it took.
        duration: Duration,
        /// 1 for the first attempt.
        attempt: u32,
    },
    /// A request failed and will be tried again.
    PayloadRetried {
        /// The endpoint, without secrets.
        destination: &'a str,
        /// The status or the error.
        cause: RetryCause<'a>,
        /// When it is tried again, from now (zero for the halves of a payload that was too large);
        /// none when that waits for something else than time: another key, or the next run.
        delay: Option<Duration>,
    },
    /// Something built will not arrive.
    PayloadDropped {
        /// The endpoint, without secrets.
        destination: &'a str,
        /// The reason, as counters spell it.
        reason: &'static str,
        /// Items lost: points of series, else the sketches, events or checks. Of one payload, or of
        /// all that were given up together for that reason.
        items: usize,
        /// Bytes lost, 0 where nothing was encoded yet.
        bytes: usize,
    },
    /// Settings changed while running.
    ConfigReloaded {
        /// The changed keys.
        keys: &'a [&'a str],
    },
    /// A listener opened, closed or failed.
    ListenerStateChanged {
        /// Its address.
        listener: &'a str,
        /// The new state in a word.
        state: &'static str,
    },
    /// A part of the program failed.
    ComponentFailed {
        /// Which.
        component: &'a str,
        /// Why.
        error: &'a str,
        /// How often it was restarted.
        restarts: u32,
    },
    /// The program was asked to end.
    ShutdownStarted {
        /// When it must have ended, from now.
        deadline: Duration,
        /// Items waiting for delivery.
        pending: usize,
    },
    /// The program ends.
    ShutdownCompleted {
        /// Items that will not arrive.
        lost: usize,
    },
}
