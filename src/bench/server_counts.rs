//! The server's own line counts, as whippet prints them at shutdown.

/// `lines    12 received = 10 recorded + 1 refused + 1 dropped`
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ServerCounts {
    /// Lines that arrived.
    pub received: u64,
    /// Lines that reached a cell.
    pub recorded: u64,
    /// Lines that were malformed.
    pub refused: u64,
    /// Lines dropped for a stated reason.
    pub dropped: u64,
}

/// Reads one line of output; `None` when it does not hold the counts. Thousands separators
/// and text before and after are accepted.
pub fn read(line: &str) -> Option<ServerCounts> {
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "lines").skip(1);
    let mut part = |name: &str, joint: &str| {
        let number = words.next()?.replace(',', "").parse().ok()?;
        let named = words.next()?.trim_end_matches([',', ';', '.']) == name;
        (named && (joint.is_empty() || words.next()? == joint)).then_some(number)
    };
    Some(ServerCounts {
        received: part("received", "=")?,
        recorded: part("recorded", "+")?,
        refused: part("refused", "+")?,
        dropped: part("dropped", "")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(line: &str, expect: Option<[u64; 4]>) {
        let got = read(line).map(|b| [b.received, b.recorded, b.refused, b.dropped]);
        assert_eq!(got, expect, "{line}");
    }

    #[test]
    fn the_shutdown_line_is_read_and_nothing_else() {
        reads("lines    12 received = 10 recorded + 1 refused + 1 dropped", Some([12, 10, 1, 1]));
        reads(
            "lines 1,234,567 received = 1,234,567 recorded + 0 refused + 0 dropped",
            Some([1_234_567, 1_234_567, 0, 0]),
        );
        reads(
            "INFO x: lines 1 received = 1 recorded + 0 refused + 0 dropped; kernel drops 0",
            Some([1, 1, 0, 0]),
        );
        reads("12:00:10  1 line = 1 recorded + 0 refused + 0 dropped; kernel drops 0", None);
        reads("lines 1 received = 1 recorded", None);
        reads("lines x received = 1 recorded + 0 refused + 0 dropped", None);
        reads("payloads none built (console only)", None);
        reads("", None);
    }
}
