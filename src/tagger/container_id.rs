//! Container ids as they stand in paths of control groups.
//!
//! ```text
//! 0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod….slice/cri-containerd-<id>.scope
//! 4:memory:/docker/<id>          0::/../../kubepods/besteffort/pod<uid>/<id>
//! 1:name=systemd:/system.slice/containerd.service/kubepods-…-pod….slice:cri-containerd:<id>
//! ```

use std::sync::LazyLock;

use regex::Regex;

/// 64 hexadecimal digits (Docker, containerd, CRI-O, podman), 32 with a number (ECS on Fargate), or
/// five groups of 8-4-4-4-4 (Garden). The uid of a pod, 8-4-4-4-12, is none.
const ID: &str = "(?:[0-9a-f]{64}|[0-9a-f]{32}-[0-9]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){4})";

#[cfg(any(feature = "server", test))]
static WHOLE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("^{ID}$")).ok());
static IN_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    // A folder is named after the id, with a word before it and a unit's suffix behind it.
    Regex::new(&format!(r"(?:^|[^0-9a-zA-Z])({ID})(?:\.scope|\.service)?$")).ok()
});

/// True for text that is a container id and nothing else.
#[cfg(any(feature = "server", test))]
#[must_use]
pub fn is_container_id(text: &str) -> bool {
    WHOLE.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// The id in the name of one folder.
pub(super) fn in_folder_name(name: &str) -> Option<&str> {
    // Beside a container's own folder runtimes keep others that carry its id.
    if name.ends_with(".mount") || name.contains("conmon-") {
        return None;
    }
    IN_NAME.as_ref()?.captures(name)?.get(1).map(|found| found.as_str())
}

/// The container in the text of `/proc/PID/cgroup`: of the first line that names one, the innermost.
/// `None` for a process of the machine itself.
#[must_use]
pub fn container_id(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| {
        let path = line.splitn(3, ':').nth(2)?;
        path.rsplit('/').find_map(in_folder_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860";
    const B: &str = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd";

    #[track_caller]
    fn finds(cgroup: &str, expect: Option<&str>) {
        let filled = cgroup.replace("{A}", A).replace("{B}", B);
        assert_eq!(container_id(&filled), expect, "{cgroup}");
    }

    #[test]
    fn every_runtime_names_its_folder_in_its_own_way() {
        finds("0::/docker/{A}\n", Some(A));
        finds("0::/system.slice/docker-{A}.scope\n", Some(A));
        finds("0::/../../kubepods/burstable/pod3d274242-8ee0-11e9-a8a6-1e68d864ef1a/{A}", Some(A));
        finds("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{A}.scope", Some(A));
        finds("0::/kubepods.slice/kubepods-pod1.slice/crio-{A}.scope", Some(A));
        finds("0::/machine.slice/libpod-{A}.scope/container", Some(A));
        finds(
            "1:name=systemd:/system.slice/containerd.service/x.slice:cri-containerd:{A}",
            Some(A),
        );
        finds("12:pids:/\n11:memory:/docker/{A}\n10:cpu:/docker/{A}\n", Some(A));
        finds(
            "9:cpu:/ecs/task/34dc0b5e626f2c5c4c5170e34b10e765-1234567890",
            Some("34dc0b5e626f2c5c4c5170e34b10e765-1234567890"),
        );
        finds("1:cpu:/garden/6f265890-5165-7fab-6b52-18d1", Some("6f265890-5165-7fab-6b52-18d1"));
    }

    #[test]
    fn of_nested_containers_the_innermost_counts() {
        finds("0::/docker/{A}/kubepods/pod1/{B}", Some(B));
        finds("0::/docker/{A}/init.scope", Some(A));
    }

    #[test]
    fn what_only_looks_like_a_container_is_none() {
        finds("", None);
        finds("0::/init.scope", None);
        finds("0::/user.slice/user-1000.slice/session-2.scope", None);
        finds("0::/kubepods/besteffort/pod3d274242-8ee0-11e9-a8a6-1e68d864ef1a", None);
        finds("0::/machine.slice/libpod-conmon-{A}.scope", None);
        finds("0::/system.slice/var-lib-docker-{A}.mount", None);
        finds("0::/docker/{A}0", None);
        finds("no colons {A}", None);
    }

    #[test]
    fn a_claimed_id_must_be_nothing_else() {
        assert!(is_container_id(A));
        assert!(!is_container_id(&format!("docker-{A}")));
        assert!(!is_container_id(&A[1..]));
        assert!(!is_container_id(""));
    }
}
