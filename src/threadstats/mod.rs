//! (threadstats)
