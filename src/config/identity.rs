//! The name that series are posted for.
//!
//! In: the configuration and a [`Machine`] to look at. Out: an [`Identity`], with or without a name,
//! and where it comes from. Promise: deterministic, no network. Refusal: a name that a container
//! runtime made up is never taken, because every restart would make a new host.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::hostname::check_name;
use super::settings::Config;

/// Who this process posts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name; without one, series carry no host.
    pub hostname: Option<String>,
    /// Where it was found: `hostname`, `hostname_file`, `node name`, `system`, or `none`.
    pub origin: &'static str,
    /// What an operator has to know about the choice.
    pub remark: Option<String>,
}

/// What is looked at: everything the answer depends on besides the configuration.
pub struct Machine<'a> {
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Root of the file system; `/` outside of tests.
    pub root: PathBuf,
    /// What the system calls itself.
    pub system_name: Option<String>,
}

/// Variables that a pod commonly gets its node's name in; only looked at inside Kubernetes.
const NODE_NAMES: [&str; 4] =
    ["NODE_NAME", "K8S_NODE_NAME", "KUBERNETES_NODE_NAME", "MY_NODE_NAME"];

/// Inode of the first UTS namespace (`PROC_UTS_INIT_INO` in Linux's `include/linux/proc_ns.h`): in
/// it the system's name is that of the machine, also inside a container.
const FIRST_UTS_NAMESPACE: &str = "uts:[4026531838]";

impl Identity {
    /// Resolves: `hostname`, `hostname_file`, the node's name, the system's name.
    #[must_use]
    pub fn resolve(config: &Config, machine: &Machine<'_>) -> Identity {
        let mut remarks = Vec::new();
        let found = configured(config)
            .or_else(|| from_file(config, machine, &mut remarks))
            .or_else(|| from_node(config, machine, &mut remarks))
            .or_else(|| from_system(machine, &mut remarks));
        let (hostname, origin) = match found {
            Some((name, origin)) => (Some(name), origin),
            None => {
                remarks.push(
                    "series are posted without a host; set DD_HOSTNAME to add one".to_owned(),
                );
                (None, "none")
            }
        };
        let remark = (!remarks.is_empty()).then(|| remarks.join("; "));
        Identity { hostname, origin, remark }
    }
}

type Found = Option<(String, &'static str)>;

fn configured(config: &Config) -> Found {
    config.hostname.clone().map(|name| (name, "hostname"))
}

fn from_file(config: &Config, machine: &Machine<'_>, remarks: &mut Vec<String>) -> Found {
    let path = config.hostname_file.as_ref()?;
    let shown = path.display();
    let inside = machine.root.join(path.strip_prefix("/").unwrap_or(path));
    let Some(text) = read_start(&inside) else {
        remarks.push(format!("hostname_file {shown} cannot be read"));
        return None;
    };
    let name = text.lines().next().unwrap_or_default().trim().to_owned();
    keep(name, "hostname_file", remarks)
}

fn from_node(config: &Config, machine: &Machine<'_>, remarks: &mut Vec<String>) -> Found {
    let in_pod = (machine.env)("KUBERNETES_SERVICE_HOST").is_some();
    let from_pod = || {
        NODE_NAMES.iter().filter(|_| in_pod).find_map(|name| {
            (machine.env)(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        })
    };
    let node = config.kubernetes_kubelet_nodename.clone().or_else(from_pod)?;
    // The Agent joins both in the same way, so a host keeps its name when whippet takes over.
    let name = match &config.cluster_name {
        Some(cluster) => format!("{node}-{cluster}"),
        None => node,
    };
    keep(name, "node name", remarks)
}

fn from_system(machine: &Machine<'_>, remarks: &mut Vec<String>) -> Found {
    let name = machine.system_name.as_ref()?.trim().to_owned();
    if let Some(sign) = container_sign(machine)
        && !has_name_of_machine(machine)
    {
        remarks.push(format!(
            "running in a container ({sign}), whose name {:?} is not a host name",
            name
        ));
        return None;
    }
    keep(name, "system", remarks)
}

/// A good name, or a remark why it is none.
fn keep(name: String, origin: &'static str, remarks: &mut Vec<String>) -> Found {
    match check_name(&name) {
        Ok(()) => Some((name, origin)),
        Err(reason) => {
            let shown: String = name.chars().take(60).collect();
            remarks.push(format!("the {origin} {shown:?} {reason}"));
            None
        }
    }
}

/// What gives a container away.
fn container_sign(machine: &Machine<'_>) -> Option<&'static str> {
    let exists = |path: &str| machine.root.join(path).exists();
    if (machine.env)("KUBERNETES_SERVICE_HOST").is_some() {
        return Some("KUBERNETES_SERVICE_HOST is set");
    }
    if exists(".dockerenv") {
        return Some("/.dockerenv exists");
    }
    if exists("run/.containerenv") {
        return Some("/run/.containerenv exists");
    }
    let first_group = read_start(&machine.root.join("proc/1/cgroup")).unwrap_or_default();
    if ["/docker", "/kubepods", "/libpod", "/lxc/", "/containerd", "crio-", "/ecs/"]
        .iter()
        .any(|part| first_group.contains(part))
    {
        return Some("/proc/1/cgroup names a container");
    }
    let mounts = read_start(&machine.root.join("proc/self/mountinfo")).unwrap_or_default();
    // Container runtimes mount these files one by one; a machine does not.
    if mounts.lines().any(|line| line.split(' ').nth(4) == Some("/etc/hostname")) {
        return Some("/etc/hostname is mounted");
    }
    None
}

/// True in a container that shares the machine's name (`--uts=host`, `hostNetwork`).
fn has_name_of_machine(machine: &Machine<'_>) -> bool {
    std::fs::read_link(machine.root.join("proc/self/ns/uts"))
        .is_ok_and(|link| link == Path::new(FIRST_UTS_NAMESPACE))
}

/// The first 256 KiB of a file, if it is text.
fn read_start(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(256 << 10).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mode, Sources, load};

    /// A machine of files, variables and a name, and what is set.
    #[derive(Default)]
    struct Case<'a> {
        files: &'a [(&'a str, &'a str)],
        links: &'a [(&'a str, &'a str)],
        env: &'a [(&'a str, &'a str)],
        set: &'a [(&'a str, &'a str)],
        system: &'a str,
    }

    impl Case<'_> {
        fn resolve(&self) -> Identity {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in self.files {
                let path = root.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            for (path, target) in self.links {
                let path = root.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::os::unix::fs::symlink(target, path).unwrap();
            }
            let flags = self.set.iter().map(|(key, value)| ((*key).into(), (*value).into()));
            let sources = Sources { file: None, env: [], flags: flags.collect(), mode: Mode::Run };
            let config = load(sources).unwrap().config;
            let env = |name: &str| {
                self.env.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned())
            };
            let system_name = Some(self.system.to_owned());
            let machine = Machine { env: &env, root: root.path().to_path_buf(), system_name };
            Identity::resolve(&config, &machine)
        }

        #[track_caller]
        fn is(&self, name: &str, origin: &str) {
            let found = self.resolve();
            assert_eq!((found.hostname.as_deref(), found.origin), (Some(name), origin));
            assert_eq!(found.remark, None);
        }

        #[track_caller]
        fn is_nobody(&self, why: &str) {
            let found = self.resolve();
            assert_eq!((found.hostname, found.origin), (None, "none"));
            let remark = found.remark.unwrap();
            assert!(remark.contains(why) && remark.contains("DD_HOSTNAME"), "{remark}");
        }
    }

    #[test]
    fn a_machine_has_the_name_of_its_system() {
        Case { system: "web-1.example.org", ..Case::default() }.is("web-1.example.org", "system");
        let init =
            [("proc/1/cgroup", "0::/init.scope\n"), ("proc/self/mountinfo", "1 2 0:3 / / rw\n")];
        Case { system: "web-1", files: &init, ..Case::default() }.is("web-1", "system");
        Case { system: "localhost", ..Case::default() }.is_nobody("is a loopback name");
        Case { system: "my_machine", ..Case::default() }.is_nobody("is not a valid host name");
    }

    #[test]
    fn a_container_has_no_name_of_its_own() {
        let signs: [&[(&str, &str)]; 4] = [
            &[(".dockerenv", "")],
            &[("run/.containerenv", "")],
            &[("proc/1/cgroup", "12:cpu:/docker/3f2a\n")],
            &[("proc/self/mountinfo", "9 8 8:1 /x/hostname /etc/hostname rw - ext4 /dev/a rw\n")],
        ];
        for files in signs {
            Case { system: "3f2a9c11d0e4", files, ..Case::default() }.is_nobody("container");
        }
    }

    #[test]
    fn a_container_that_shares_the_name_of_the_machine_uses_it() {
        let mut case = Case {
            system: "web-1",
            files: &[(".dockerenv", "")],
            links: &[("proc/self/ns/uts", FIRST_UTS_NAMESPACE)],
            ..Case::default()
        };
        case.is("web-1", "system");
        case.links = &[("proc/self/ns/uts", "uts:[4026532000]")];
        case.is_nobody("container");
    }

    #[test]
    fn a_pod_has_the_name_of_its_node() {
        let pod = [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("NODE_NAME", "node-7")];
        let mut case = Case { system: "web-5d4f-x2x", env: &pod, ..Case::default() };
        case.is("node-7", "node name");
        case.set = &[("kubernetes_kubelet_nodename", "node-8"), ("cluster_name", "prod")];
        case.is("node-8-prod", "node name");
        case.set = &[];
        case.env = &pod[..1];
        case.is_nobody("KUBERNETES_SERVICE_HOST");
        // Outside of a pod these names mean nothing.
        case.env = &pod[1..];
        case.is("web-5d4f-x2x", "system");
    }

    #[test]
    fn what_is_set_wins_in_order() {
        let files = [(".dockerenv", ""), ("etc/name", "from-file\n\n")];
        let mut case = Case { system: "3f2a9c11d0e4", files: &files, ..Case::default() };
        case.set = &[("hostname", "set.example.org"), ("hostname_file", "/etc/name")];
        case.is("set.example.org", "hostname");
        case.set = &[("hostname_file", "/etc/name"), ("kubernetes_kubelet_nodename", "node")];
        case.is("from-file", "hostname_file");
    }

    #[test]
    fn a_bad_name_file_is_told_and_passed_over() {
        let case = Case {
            system: "web-1",
            files: &[("etc/name", "two words")],
            set: &[("hostname_file", "/etc/name")],
            ..Case::default()
        };
        let found = case.resolve();
        assert_eq!((found.hostname.as_deref(), found.origin), (Some("web-1"), "system"));
        assert_eq!(
            found.remark.unwrap(),
            "the hostname_file \"two words\" is not a valid host name"
        );
        let missing =
            Case { set: &[("hostname_file", "/none")], system: "web-1", ..Case::default() };
        assert_eq!(missing.resolve().remark.unwrap(), "hostname_file /none cannot be read");
    }
}
