//! The flags common to all commands: the configuration file, and individual keys.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Mode, Sources};

#[derive(Args, Default)]
pub(super) struct ConfigArgs {
    /// Configuration file, or a directory that contains whippet.yaml, dogstatsd.yaml or datadog.yaml.
    #[arg(short, long, alias = "cfgpath", value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,
    /// Set one key, overriding file and environment.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair, global = true)]
    pub(super) set: Vec<(String, String)>,
}

impl ConfigArgs {
    pub(super) fn sources(&self, mode: Mode) -> Sources<Vec<(String, String)>> {
        // A variable that is not UTF-8 cannot be one of whippet's.
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Sources {
            file: self.config.clone(),
            env: std::env::vars_os().filter_map(text).collect(),
            flags: self.set.clone(),
            mode,
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
