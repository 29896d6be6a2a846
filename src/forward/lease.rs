//! What the owner of a partition adds to its payloads: a lease, looked at directly before every
//! request, and a ticket that says once what became of all payloads of one posting.

use super::outcome::DropReason;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The right to post a partition: it holds until a monotonic time that its owner moves on, and ends
/// for good when it is withdrawn. A partition that comes back gets a new one.
#[derive(Debug, Default)]
pub struct Lease {
    until_nanos: AtomicU64,
    withdrawn: AtomicBool,
}

impl Lease {
    /// One that holds until the monotonic time `until`, as a [`crate::clock::Clock`] reads it.
    #[must_use]
    pub fn until(until: Duration) -> Self {
        let lease = Lease::default();
        lease.renew(until);
        lease
    }

    /// Holds until then, or longer if it did already.
    pub fn renew(&self, until: Duration) {
        let nanos = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        self.until_nanos.fetch_max(nanos, Ordering::AcqRel);
    }

    /// Ends for good; renewing changes nothing any more.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }

    /// True once it was withdrawn.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    /// True while its partition may be posted.
    #[must_use]
    pub fn holds(&self, now: Duration) -> bool {
        !self.is_withdrawn()
            && now.as_nanos() < u128::from(self.until_nanos.load(Ordering::Acquire))
    }
}

/// What became of a posting, at every endpoint together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostingFate {
    /// All of it was taken by every endpoint.
    Delivered,
    /// Some endpoint will never get some of it; counted there by reason.
    GivenUp,
    /// Its lease was withdrawn, or delivery ended, before all of it was settled: whoever owns the
    /// partition next posts it again.
    Withdrawn,
}

/// Goes with every payload of one posting and tells its [`PostingFate`] once: when the last payload is
/// settled at the last endpoint and the last clone of the ticket is gone. So one clone stays with
/// whoever still makes payloads of the posting.
#[derive(Clone)]
pub struct Ticket(Arc<Shared>);

struct Shared {
    lease: Arc<Lease>,
    given_up: AtomicBool,
    withdrawn: AtomicBool,
    tell: Mutex<Option<Tell>>,
}

type Tell = Box<dyn FnOnce(PostingFate) + Send>;

impl Ticket {
    /// A ticket of a posting under `lease`. `tell` is called with its fate from any thread, perhaps
    /// under a lock of the forwarder: it may put the answer into a channel, and no more.
    pub fn new(lease: Arc<Lease>, tell: impl FnOnce(PostingFate) + Send + 'static) -> Self {
        Ticket(Arc::new(Shared {
            lease,
            given_up: AtomicBool::new(false),
            withdrawn: AtomicBool::new(false),
            tell: Mutex::new(Some(Box::new(tell))),
        }))
    }

    /// The lease its payloads leave under.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.0.lease
    }

    /// Some of the posting will not be delivered for that reason.
    pub(crate) fn lost(&self, reason: DropReason) {
        let mark = match reason {
            DropReason::Withdrawn => &self.0.withdrawn,
            _ => &self.0.given_up,
        };
        mark.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("lease", &self.0.lease).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What was withdrawn is posted again by another owner, whatever else was given up.
        let fate = if *self.withdrawn.get_mut() {
            PostingFate::Withdrawn
        } else if *self.given_up.get_mut() {
            PostingFate::GivenUp
        } else {
            PostingFate::Delivered
        };
        let tell = self.tell.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tell) = tell {
            tell(fate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_holds_until_its_time_and_never_after_it_was_withdrawn() {
        let lease = Lease::default();
        assert!(!lease.holds(s(0)), "not before it was renewed");
        lease.renew(s(10));
        assert!(lease.holds(s(9)) && !lease.holds(s(10)));
        lease.renew(s(5));
        assert!(lease.holds(s(9)), "an older answer does not shorten it");
        lease.renew(s(20));
        assert!(lease.holds(s(19)));
        lease.withdraw();
        lease.renew(s(30));
        assert!(!lease.holds(s(1)) && lease.is_withdrawn());
    }

    #[test]
    fn the_fate_is_told_once_when_the_last_clone_is_gone() {
        for (reasons, fate) in [
            (&[][..], PostingFate::Delivered),
            (&[DropReason::TooOld], PostingFate::GivenUp),
            (&[DropReason::Withdrawn], PostingFate::Withdrawn),
            (&[DropReason::BadRequest, DropReason::Withdrawn], PostingFate::Withdrawn),
        ] {
            let (tell, told) = mpsc::channel();
            let ticket = Ticket::new(Arc::new(Lease::until(s(1))), move |fate| {
                tell.send(fate).unwrap_or_default()
            });
            let clones = [ticket.clone(), ticket.clone()];
            reasons.iter().for_each(|reason| ticket.lost(*reason));
            drop(ticket);
            assert!(told.try_recv().is_err(), "payloads still wait");
            drop(clones);
            assert_eq!(told.iter().collect::<Vec<_>>(), [fate], "{reasons:?}");
        }
    }
}
