//! `whippet explain`: lines, and the configuration that `run` would use. Prints a page per line.

use std::ffi::OsString;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;

use super::config_args::ConfigArgs;
use super::exit::FAILED;
use super::run;
use crate::clock::Clock;
use crate::config::{self, Class, Mode};
use crate::explain::Explainer;
use crate::protocol;
use crate::server::settings;
use crate::text::printable_lines;

/// Lines longer than any datagram are not explained.
const LINE_BYTES_MAX: u64 = 1 << 16;

/// Explains every line; fails if one of them is refused.
pub(super) fn explain(settings: &ConfigArgs, lines: &[OsString]) -> anyhow::Result<ExitCode> {
    let loaded = config::load(settings.sources(Mode::Run))?;
    // Notes concern a running server only.
    let mistakes = loaded.warnings.iter().filter(|warning| warning.class != Class::Note);
    for warning in mistakes {
        let _ = writeln!(io::stderr(), "whippet: {}", printable_lines(&warning.to_string()));
    }
    let identity = run::identity(&loaded);
    let explainer = Explainer {
        rules: Arc::new(settings::rules(&loaded.config, identity.hostname.as_deref(), 1, None)),
        shard: settings::shard(&loaded.config),
        flush: settings::flush(&loaded.config),
        config: loaded.config,
        host_origin: identity.origin,
    };
    let now = Clock::wall().unix();
    let mut out = io::stdout().lock();
    let (mut explained, mut refused) = (0_u64, 0_u64);
    let mut one = |line: &[u8]| -> io::Result<()> {
        let (page, readable) = explainer.explain(line, now);
        if explained > 0 {
            writeln!(out)?;
        }
        explained += 1;
        refused += u64::from(!readable);
        out.write_all(page.as_bytes())
    };
    for line in lines {
        if line == "-" {
            from_stdin(&mut one)?;
        } else {
            protocol::lines(line.as_bytes()).try_for_each(|line| one(line.bytes))?;
        }
    }
    if explained == 0 {
        bail!("no lines to explain");
    }
    Ok(if refused > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn from_stdin(one: &mut impl FnMut(&[u8]) -> io::Result<()>) -> anyhow::Result<()> {
    let mut stdin = io::stdin().lock();
    let mut bytes = Vec::new();
    while stdin.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? > 0 {
        if bytes.len() as u64 == LINE_BYTES_MAX && !bytes.ends_with(b"\n") {
            bail!("standard input: a line of more than {LINE_BYTES_MAX} bytes");
        }
        protocol::lines(&bytes).try_for_each(|line| one(line.bytes))?;
        bytes.clear();
    }
    Ok(())
}
