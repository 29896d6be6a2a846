//! Exit codes besides 0 (success), 2 (wrong command line, from clap) and 128 + n (a second signal n).

/// The program could not start, or the command failed.
pub(crate) const FAILED: u8 = 1;

/// The configuration is invalid: `EX_CONFIG` of `sysexits.h`. A restart does not help, which systemd
/// is told with `RestartPreventExitStatus=78`.
pub(crate) const CONFIG: u8 = 78;
