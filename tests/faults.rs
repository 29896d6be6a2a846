//! What the program does when everything around it fails: the real binary, real sockets, a fake
//! intake behind every kind of bad luck. The long ones run only when asked (`make faults`, `make
//! soak`); their figures stand in `docs/reliability.md`.

#[allow(dead_code, reason = "each test program uses its own part of what they share")]
mod support;

/// One file per kind of trouble.
mod faults {
    mod clock;
    mod flood;
    mod outage;
    mod peers;
    mod process;
    mod security;
    mod soak;
    mod wall;
}
