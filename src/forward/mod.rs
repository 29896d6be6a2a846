//! (forward)
