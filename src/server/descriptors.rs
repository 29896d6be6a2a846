//! How many files the process may have open, and what that leaves to stream clients.

/// Kept for everything else: listeners, requests to the intake, the spool, the log, questions.
const KEPT: usize = 128;

/// Raises the limit on open files to the most that the system grants this process, and returns it.
pub(super) fn raise() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        // Some systems have a lower ceiling that they do not tell: then it stays as it was.
        Err(_) => limit.current,
    };
    // No limit, or one past what can be counted, is none.
    in_force.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Stream connections to allow when `open_max` files may be open: clients must never take the
/// descriptors that delivery needs.
pub(super) fn connections(configured: usize, open_max: usize) -> usize {
    let room = open_max - KEPT.min(open_max / 2);
    let allowed = configured.min(room).max(1);
    if allowed < configured {
        tracing::warn!(
            target: "net",
            "stream_connections_max is {allowed} instead of {configured}: the process may open {open_max} files; raise ulimit -n (LimitNOFILE= of the unit)"
        );
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::connections;

    #[test]
    fn stream_clients_leave_descriptors_to_the_rest() {
        for (configured, open_max, allowed) in [
            (1_024, usize::MAX, 1_024),
            (1_024, 1_152, 1_024),
            (1_024, 1_024, 896),
            (1_024, 64, 32),
            (10, 64, 10),
            (1_024, 1, 1),
        ] {
            assert_eq!(connections(configured, open_max), allowed, "{open_max} files");
        }
    }
}
