//! What a valid configuration still cannot be started with: a socket without a folder, an intake that
//! cannot be, a file that cannot be read or written.
//!
//! `check-config` and a reload look at the same things before they accept a configuration as the start
//! meets while it starts.

use std::fs::OpenOptions;
use std::path::Path;

use super::{doors, settings};
use crate::config::{Class, Loaded, OutputKind, Outputs, Problem};
use crate::forward;
use crate::net::{self, Transport};

/// Everything that would keep a server with this configuration from starting, without binding or
/// changing anything. A port in use and a socket with a live owner are not looked for: both may be
/// those of the server that asks. `inherited` are the kinds of listeners that a service manager passes.
pub fn preflight(loaded: &Loaded, outputs: &Outputs, inherited: &[Transport]) -> Vec<Problem> {
    let mut found = Preflight { loaded, problems: Vec::new() };
    found.sockets(inherited);
    found.outputs(outputs);
    found.log_file();
    found.problems
}

struct Preflight<'a> {
    loaded: &'a Loaded,
    problems: Vec<Problem>,
}

impl Preflight<'_> {
    fn problem(&mut self, key: &str, message: String) {
        let origin = self.loaded.origin(key);
        self.problems.push(Problem { class: Class::Value, origin, key: key.to_owned(), message });
    }

    fn sockets(&mut self, inherited: &[Transport]) {
        let config = &self.loaded.config;
        let mut optional = settings::optional_listeners(self.loaded);
        if doors::socket_is_optional(self.loaded) {
            optional.push(Transport::Http);
        }
        for (key, transport, path) in [
            ("dogstatsd_socket", Transport::UnixDatagram, &config.dogstatsd_socket),
            ("dogstatsd_stream_socket", Transport::UnixStream, &config.dogstatsd_stream_socket),
            ("apm_config.receiver_socket", Transport::Http, &config.apm_config_receiver_socket),
        ] {
            let Some(path) = path else { continue };
            if optional.contains(&transport) || inherited.contains(&transport) {
                continue;
            }
            if let Err(problem) = net::check_socket_path(transport, path) {
                let (place, detail, remedy) = (&problem.place, &problem.detail, &problem.remedy);
                self.problem(key, format!("{place}: {detail}; {remedy}"));
            }
        }
    }

    fn outputs(&mut self, outputs: &Outputs) {
        let config = &self.loaded.config;
        for output in &outputs.list {
            match output {
                OutputKind::Datadog | OutputKind::DryRun { .. } => {
                    let endpoints = settings::endpoints_without_key(config);
                    for error in forward::endpoints(&endpoints).err().unwrap_or_default() {
                        self.problem("", error.to_string());
                    }
                }
                OutputKind::JsonLines(Some(path)) => {
                    if let Err(error) = may_write(path) {
                        let path = path.display();
                        let message =
                            format!("jsonl:{path}: {error}; name a file in a writable folder");
                        self.problem("output", message);
                    }
                }
                OutputKind::Console | OutputKind::JsonLines(None) | OutputKind::None => {}
            }
        }
        if let Some(path) = &config.ca_file
            && let Err(error) = std::fs::read(path)
        {
            let message = format!("{}: {error}; name a file that can be read", path.display());
            self.problem("ca_file", message);
        }
    }

    fn log_file(&mut self) {
        let config = &self.loaded.config;
        let path = config.log_file.as_deref().filter(|_| !config.disable_file_logging);
        if let Some(Err(error)) = path.map(may_write) {
            let path = path.unwrap_or(Path::new("")).display();
            self.problem("log_file", format!("{path}: {error}; name a file in a writable folder"));
        }
    }
}

/// Whether a file could be opened for appending, without making it.
fn may_write(path: &Path) -> std::io::Result<()> {
    match path.exists() {
        true => OpenOptions::new().append(true).open(path).map(drop),
        false => net::may_make_files(net::folder_of(path)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Mode, Sources, load};

    fn problems(flags: &[(&str, String)], inherited: &[Transport]) -> Vec<String> {
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let loaded = load(Sources { file: None, env: [], flags, mode: Mode::Check }).unwrap();
        let outputs = Outputs::choose(&loaded).unwrap();
        preflight(&loaded, &outputs, inherited).iter().map(ToString::to_string).collect()
    }

    fn missing(name: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nowhere").join(name);
        (folder, path)
    }

    #[test]
    fn the_defaults_start() {
        assert_eq!(problems(&[], &[]), [""; 0]);
    }

    #[test]
    fn a_socket_that_was_asked_for_needs_its_folder() {
        let (folder, path) = missing("d.sock");
        for (key, transport) in [
            ("dogstatsd_socket", Transport::UnixDatagram),
            ("dogstatsd_stream_socket", Transport::UnixStream),
            ("apm_config.receiver_socket", Transport::Http),
        ] {
            let path = path.display();
            let nowhere = folder.path().join("nowhere");
            let flags = [(key, path.to_string())];
            let expect = format!(
                "--set {key}: {key}: {path}: {} does not exist; create it or set {key} to another \
                 path, or to '' for none",
                nowhere.display()
            );
            assert_eq!(problems(&flags, &[]), [expect]);
            assert_eq!(problems(&flags, &[transport]), [""; 0], "a passed socket needs no path");
        }
        std::fs::write(folder.path().join("file"), "precious").unwrap();
        let file = folder.path().join("file").display().to_string();
        let found = problems(&[("dogstatsd_socket", file)], &[]);
        assert!(found[0].contains("exists and is not a socket"), "{found:?}");
    }

    #[test]
    fn files_have_to_be_readable_or_writable() {
        let (folder, path) = missing("file");
        let path = path.display().to_string();
        for (key, value) in [
            ("ca_file", path.clone()),
            ("log_file", path.clone()),
            ("output", format!("jsonl:{path}")),
        ] {
            let found = problems(&[(key, value)], &[]);
            assert!(found.len() == 1 && found[0].contains(&path), "{key}: {found:?}");
        }
        let good = folder.path().join("new").display().to_string();
        assert_eq!(problems(&[("log_file", good.clone())], &[]), [""; 0]);
        assert!(!Path::new(&good).exists(), "looking makes no file");
    }
}
