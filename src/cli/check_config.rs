//! `whippet check-config`: the effective configuration, the origin of each value, and all problems.

use std::io::{self, Write};

use crate::config::{Examined, Loaded, Mode, Outputs, Problem, Sources, ValueOrigin, examine};
use crate::server;
use crate::text::printable_lines;

/// Prints the effective configuration with origins (or only what differs from the defaults), then every
/// problem.
///
/// Returns the exit code: 0 when nothing is an error, 78 otherwise.
///
/// # Errors
/// When `out` cannot be written to.
pub fn check_config(
    sources: Sources<impl IntoIterator<Item = (String, String)>>,
    changed_only: bool,
    out: &mut dyn Write,
) -> io::Result<i32> {
    // In memory first: file names, values and problems go to a terminal.
    let mut text = Vec::new();
    let code = write_report(sources, changed_only, &mut text)?;
    out.write_all(printable_lines(&String::from_utf8_lossy(&text)).as_bytes())?;
    Ok(code)
}

fn write_report(
    sources: Sources<impl IntoIterator<Item = (String, String)>>,
    changed_only: bool,
    out: &mut dyn Write,
) -> io::Result<i32> {
    let Examined { loaded, mut problems } = examine(sources);
    if let Some(loaded) = &loaded {
        values(loaded, changed_only, out)?;
        match Outputs::choose(loaded) {
            Ok(outputs) => {
                let list: Vec<String> = outputs.list.iter().map(ToString::to_string).collect();
                writeln!(out, "\noutputs  {}", list.join(", "))?;
                problems.extend(server::preflight(loaded, &outputs, &[]));
            }
            // An invalid key is already reported.
            Err(problem) if problems.iter().any(|known| known.key == problem.key) => {}
            Err(problem) => problems.push(problem),
        }
        ignored(loaded, out)?;
    }
    report(&problems, out)
}

fn values(loaded: &Loaded, changed_only: bool, out: &mut dyn Write) -> io::Result<()> {
    let rows = if changed_only { loaded.changed() } else { loaded.effective() };
    if rows.is_empty() {
        writeln!(out, "every setting has its default")?;
    }
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
    for (name, value, origin) in rows {
        match origin {
            ValueOrigin::Default => writeln!(out, "{name:width$}  {value}")?,
            origin => writeln!(out, "{name:width$}  {value}  <- {origin}")?,
        }
    }
    Ok(())
}

fn ignored(loaded: &Loaded, out: &mut dyn Write) -> io::Result<()> {
    if !loaded.ignored.is_empty() {
        writeln!(out, "\naccepted without effect:")?;
    }
    for (name, origin, reason) in &loaded.ignored {
        writeln!(out, "  {origin}: {name}: {reason}")?;
    }
    Ok(())
}

fn report(problems: &[Problem], out: &mut dyn Write) -> io::Result<i32> {
    let errors = problems.iter().filter(|problem| problem.is_error(Mode::Check)).count();
    if !problems.is_empty() {
        writeln!(out)?;
    }
    for problem in problems {
        let word = if problem.is_error(Mode::Check) { "error" } else { "note" };
        writeln!(out, "{word}: {problem}")?;
    }
    match errors {
        0 => writeln!(out, "\nconfiguration is valid")?,
        1 => writeln!(out, "\n1 error")?,
        many => writeln!(out, "\n{many} errors")?,
    }
    Ok(if errors == 0 { 0 } else { i32::from(super::exit::CONFIG) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(yaml: &str, env: &[(&str, &str)]) -> (i32, String) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("whippet.yaml"), yaml).unwrap();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let file = Some(folder.path().join("whippet.yaml"));
        let sources = Sources { file, env, flags: Vec::new(), mode: Mode::Check };
        let mut out = Vec::new();
        let code = check_config(sources, false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        (code, text.replace(&format!("{}/", folder.path().display()), ""))
    }

    #[track_caller]
    fn has(text: &str, line: &str) {
        assert!(
            text.lines().any(|l| l.split_whitespace().collect::<Vec<_>>().join(" ") == line),
            "no line {line:?} in\n{text}"
        );
    }

    #[test]
    fn a_good_configuration_shows_values_and_origins_and_exits_0() {
        let key = "0123456789abcdef0123456789abcdef";
        let (code, text) = run(
            "dogstatsd_port: 9125\ntelemetry: {enabled: true}\nlogs_enabled: true\n",
            &[("DD_API_KEY", key), ("WHIPPET_INTERVAL", "5")],
        );
        has(&text, "api_key *****bcdef <- DD_API_KEY");
        has(&text, "dogstatsd_port 9125 <- whippet.yaml:1:17");
        has(&text, "interval 5s <- WHIPPET_INTERVAL");
        has(&text, "site datadoghq.com");
        has(&text, "outputs datadog");
        has(
            &text,
            "whippet.yaml:2:12: telemetry.*: the counters of /metrics are always on; who sends what is in /senders",
        );
        has(&text, "note: whippet.yaml: ignored, unknown to whippet: logs_enabled");
        has(&text, "configuration is valid");
        assert_eq!(code, 0, "{text}");
        assert!(!text.contains(key), "{text}");
    }

    #[test]
    fn an_invalid_key_is_reported_once() {
        let (code, text) = run("api_key: 'a b'", &[]);
        has(
            &text,
            "error: whippet.yaml:1:10: api_key: ***** contains whitespace; use a key without whitespace",
        );
        has(&text, "1 error");
        assert_eq!(code, 78);
    }

    #[test]
    fn changed_shows_only_what_differs_from_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("whippet.yaml");
        std::fs::write(&file, "dogstatsd_port: 9125\nlanes: 1\napi_key: 0123456789abcdef\n")
            .unwrap();
        let sources = Sources { file: Some(file), env: [], flags: Vec::new(), mode: Mode::Check };
        let mut out = Vec::new();
        assert_eq!(check_config(sources, true, &mut out).unwrap(), 0);
        let text = String::from_utf8(out).unwrap();
        let values = text.split("\n\n").next().unwrap();
        let names: Vec<&str> =
            values.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, ["api_key", "dogstatsd_port"], "{text}");
        assert!(text.ends_with("\nconfiguration is valid\n"), "{text}");
    }

    #[test]
    fn a_socket_that_run_could_not_make_is_an_error() {
        let (code, text) = run(
            "dogstatsd_socket: /nonexistent/d.sock\napi_key: 0123456789abcdef0123456789abcdef\n",
            &[],
        );
        has(
            &text,
            "error: whippet.yaml:1:19: dogstatsd_socket: /nonexistent/d.sock: /nonexistent does not exist; create it or set dogstatsd_socket to another path, or to '' for none",
        );
        assert_eq!(code, 78);
    }

    #[test]
    fn every_problem_is_shown_and_exits_78() {
        let (code, text) = run(
            "dogstatsd_port: 70000\n\ndogstatsd_prot: 1\nhistogram_percentiles: [0.5, 7]\n",
            &[("WHIPPET_INTERVAL", "0")],
        );
        has(
            &text,
            "error: whippet.yaml:3:1: dogstatsd_prot: unknown; did you mean dogstatsd_port?",
        );
        has(
            &text,
            "error: whippet.yaml:4:30: histogram_percentiles[1]: \"7\" is not a percentile; use a number from 0 to 1 (0.95)",
        );
        has(
            &text,
            "error: WHIPPET_INTERVAL: interval: \"0\" is too short; use whole seconds, or a duration such as 1m30s, 1s or more, at most 1h (default 10)",
        );
        assert!(
            text.contains(
                "error: whippet.yaml:1:17: dogstatsd_port: \"70000\" is not a valid port"
            ),
            "{text}"
        );
        assert!(text.contains("error: api_key: missing, but the configuration file"), "{text}");
        has(&text, "5 errors");
        has(&text, "histogram_percentiles [0.5] <- whippet.yaml:4:24");
        assert_eq!(code, 78);
    }
}
