//! Caps against attacks: none of them touches what real clients send.

use super::identity::Kind;

/// Why a readable line is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The name is on the metric filter list.
    Filtered,
    /// More tags than [`ContextLimits::tags_max`].
    TooManyTags,
    /// A tag longer than [`ContextLimits::tag_bytes_max`].
    TagTooLong,
    /// A name longer than [`ContextLimits::name_bytes_max`].
    NameTooLong,
    /// A new gauge past a context cap: folding gauges together would post a lie.
    ContextLimit,
    /// A title, text or message longer than [`ContextLimits::text_bytes_max`].
    TextTooLong,
    /// No finite value on the line.
    NonFinite,
    /// A timestamp on a type that cannot carry one.
    TimestampUnsupported,
    /// More timestamped points, events or checks than one interval holds.
    IntervalFull,
}

impl DropReason {
    /// Every reason, in the order reports list them.
    pub const ALL: [DropReason; 9] = [
        DropReason::Filtered,
        DropReason::TooManyTags,
        DropReason::TagTooLong,
        DropReason::NameTooLong,
        DropReason::ContextLimit,
        DropReason::TextTooLong,
        DropReason::NonFinite,
        DropReason::TimestampUnsupported,
        DropReason::IntervalFull,
    ];

    /// The word of counters and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            DropReason::Filtered => "filtered",
            DropReason::TooManyTags => "too_many_tags",
            DropReason::TagTooLong => "tag_too_long",
            DropReason::NameTooLong => "name_too_long",
            DropReason::ContextLimit => "context_limit",
            DropReason::TextTooLong => "text_too_long",
            DropReason::NonFinite => "non_finite",
            DropReason::TimestampUnsupported => "timestamp_unsupported",
            DropReason::IntervalFull => "interval_full",
        }
    }
}

/// The caps of one shard.
#[derive(Clone, Copy, Debug)]
pub struct ContextLimits {
    /// Contexts alive at once.
    pub contexts_max: usize,
    /// Contexts of one name and kind alive at once; 0 means no such cap.
    pub contexts_per_name_max: usize,
    /// Tags on one line.
    pub tags_max: usize,
    /// Bytes of one tag.
    pub tag_bytes_max: usize,
    /// Bytes of a name.
    pub name_bytes_max: usize,
    /// Bytes of a title, text or message of an event or service check.
    pub text_bytes_max: usize,
    /// Bytes that remembered spellings may take beyond the contexts themselves.
    pub alias_bytes_max: usize,
}

/// Contexts that new ones fold into past a cap stand on top of the cap, at most so many.
pub const OVERFLOW_CONTEXTS_MAX: usize = 1_000;
/// The tag of a context that new ones fold into.
pub const OVERFLOW_TAG: &[u8] = b"whippet.overflow:true";
/// The name they fold into when even the names are too many: one per kind, because of two kinds of
/// one name only the kind written last would be posted.
#[must_use]
pub fn overflow_name(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Counter => b"whippet.overflow",
        Kind::Gauge => b"whippet.overflow.gauges",
        Kind::Set => b"whippet.overflow.sets",
        Kind::Histogram => b"whippet.overflow.histograms",
        Kind::Distribution => b"whippet.overflow.distributions",
    }
}

impl Default for ContextLimits {
    fn default() -> Self {
        ContextLimits {
            contexts_max: 1_000_000,
            contexts_per_name_max: 0,
            tags_max: 1_024,
            tag_bytes_max: 8_192,
            name_bytes_max: 8_192,
            text_bytes_max: 65_536,
            alias_bytes_max: 256 << 20,
        }
    }
}

impl ContextLimits {
    /// # Errors
    /// [`DropReason::NameTooLong`].
    pub fn check_name(&self, name: &[u8]) -> Result<(), DropReason> {
        if name.len() > self.name_bytes_max { Err(DropReason::NameTooLong) } else { Ok(()) }
    }

    /// # Errors
    /// [`DropReason::TextTooLong`].
    pub fn check_text(&self, text: &[u8]) -> Result<(), DropReason> {
        if text.len() > self.text_bytes_max { Err(DropReason::TextTooLong) } else { Ok(()) }
    }

    /// # Errors
    /// [`DropReason::TooManyTags`] or [`DropReason::TagTooLong`].
    pub fn check_tags(&self, tags: &[u8]) -> Result<(), DropReason> {
        let mut count = 0;
        for tag in tags.split(|byte| *byte == b',') {
            count += 1;
            if tag.len() > self.tag_bytes_max {
                return Err(DropReason::TagTooLong);
            }
        }
        if count > self.tags_max { Err(DropReason::TooManyTags) } else { Ok(()) }
    }
}

/// What becomes of a new context past a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PastCap {
    Fold,
    Drop,
}

impl PastCap {
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Gauge => PastCap::Drop,
            Kind::Counter | Kind::Set | Kind::Histogram | Kind::Distribution => PastCap::Fold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cap_lets_its_own_size_pass_and_nothing_more() {
        let limits = ContextLimits {
            tags_max: 2,
            tag_bytes_max: 3,
            name_bytes_max: 4,
            ..ContextLimits::default()
        };
        assert_eq!(limits.check_name(b"abcd"), Ok(()));
        assert_eq!(limits.check_name(b"abcde"), Err(DropReason::NameTooLong));
        assert_eq!(limits.check_text(&[b't'; 65_536]), Ok(()));
        assert_eq!(limits.check_text(&[b't'; 65_537]), Err(DropReason::TextTooLong));
        assert_eq!(limits.check_tags(b"abc,b"), Ok(()));
        assert_eq!(limits.check_tags(b"a,b,c"), Err(DropReason::TooManyTags));
        assert_eq!(limits.check_tags(b"abcd"), Err(DropReason::TagTooLong));
    }

    #[test]
    fn the_defaults_are_generous() {
        let limits = ContextLimits::default();
        let tags = vec!["t".repeat(8_192); 256].join(",");
        assert_eq!(limits.check_tags(tags.as_bytes()), Ok(()));
        assert_eq!(limits.check_name(&[b'n'; 8_192]), Ok(()));
    }
}
