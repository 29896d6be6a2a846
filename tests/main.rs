//! The program as a whole: the real binary and the real forwarder against a fake intake, over real
//! sockets. One test program, so that linking is paid once.

mod forward;
mod support;

/// The binary, driven from outside.
mod e2e {
    mod beside;
    mod books;
    mod delivery;
    mod dry_run;
    mod identity;
    mod kinds;
    mod outputs;
    mod settings;
    mod shutdown;
    mod start;
    mod time;
}
