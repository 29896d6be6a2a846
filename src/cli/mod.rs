//! One file per subcommand of the program.

pub mod check_config;
