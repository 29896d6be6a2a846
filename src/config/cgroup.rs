//! Limits of the cgroup of this process, version 2 and version 1.
//!
//! Input: the root of a file system. Output: bytes and CPUs, or `None` for no limit. A missing or
//! malformed file means no limit.

use std::path::{Path, PathBuf};

/// Values from here on mean "no limit" in version 1, whose maximum is a page count.
const V1_UNLIMITED: u64 = 1 << 62;

/// CgroupLimits of the control group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CgroupLimits {
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// CPUs, such as 1.5.
    pub cpus: Option<f64>,
}

/// Reads the limits under `root` (`/` outside tests): the tightest of the process's cgroup and its
/// ancestors up to the mount.
#[must_use]
pub fn limits(root: &Path) -> CgroupLimits {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let base = root.join("sys/fs/cgroup");
    if base.join("cgroup.controllers").exists() {
        let folders = upwards(&base, &group(&groups, ""));
        return CgroupLimits {
            memory_bytes: tightest(&folders, |folder| number(&folder.join("memory.max"))),
            cpus: tightest(&folders, |folder| cpu_v2(&read(&folder.join("cpu.max"))?)),
        };
    }
    let memory = upwards(&base.join("memory"), &group(&groups, "memory"));
    let cpu = upwards(&base.join("cpu"), &group(&groups, "cpu"));
    CgroupLimits {
        memory_bytes: tightest(&memory, |folder| {
            number(&folder.join("memory.limit_in_bytes")).filter(|bytes| *bytes < V1_UNLIMITED)
        }),
        cpus: tightest(&cpu, |folder| {
            let quota = number(&folder.join("cpu.cfs_quota_us"))?;
            cpus(quota, number(&folder.join("cpu.cfs_period_us"))?)
        }),
    }
}

/// The path after the last colon of the line of this controller: `4:cpu,cpuacct:/docker/abc`;
/// version 2 has one line, `0::/path`.
fn group(groups: &str, controller: &str) -> String {
    let path = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        controllers.split(',').any(|known| known == controller).then(|| fields.next())?
    });
    path.unwrap_or("/").to_owned()
}

/// The cgroup's directory and its ancestors. In a container the path is often the host's and does
/// not exist; the mount itself is then the cgroup.
fn upwards(base: &Path, group: &str) -> Vec<PathBuf> {
    let mut folders = vec![base.to_path_buf()];
    for part in group.split('/').filter(|part| !part.is_empty() && *part != "..") {
        folders.push(folders[folders.len() - 1].join(part));
    }
    folders
}

fn tightest<T: PartialOrd>(folders: &[PathBuf], read: impl Fn(&Path) -> Option<T>) -> Option<T> {
    let smaller = |a: T, b: T| if b < a { b } else { a };
    folders.iter().filter_map(|folder| read(folder)).reduce(smaller)
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// `None` for `max` and `-1`, which mean no limit.
fn number(path: &Path) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// `150000 100000` is one and a half processors; `max 100000` means no limit.
fn cpu_v2(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    cpus(quota.parse().ok()?, period.parse().ok()?)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^53")]
fn cpus(quota: u64, period: u64) -> Option<f64> {
    (period > 0 && quota > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn gives(files: &[(&str, &str)], memory_bytes: Option<u64>, cpus: Option<f64>) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        assert_eq!(limits(root.path()), CgroupLimits { memory_bytes, cpus });
    }

    #[test]
    fn version_2_takes_the_tightest_of_the_group_and_those_above() {
        gives(
            &[
                ("sys/fs/cgroup/cgroup.controllers", "cpu memory"),
                ("proc/self/cgroup", "0::/a.slice/b.service\n"),
                ("sys/fs/cgroup/a.slice/memory.max", "1000\n"),
                ("sys/fs/cgroup/a.slice/b.service/memory.max", "2000\n"),
                ("sys/fs/cgroup/a.slice/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/a.slice/b.service/cpu.max", "150000 100000\n"),
            ],
            Some(1000),
            Some(1.5),
        );
    }

    #[test]
    fn version_2_in_a_container_reads_the_mount_itself() {
        gives(
            &[
                ("sys/fs/cgroup/cgroup.controllers", "cpu memory"),
                ("proc/self/cgroup", "0::/../../kubepods/pod1/abc\n"),
                ("sys/fs/cgroup/memory.max", "536870912\n"),
                ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
            ],
            Some(536_870_912),
            Some(0.5),
        );
    }

    #[test]
    fn version_1_has_a_folder_per_controller() {
        gives(
            &[
                ("proc/self/cgroup", "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n"),
                ("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "4096\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "200000\n"),
                ("sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ],
            Some(4096),
            Some(2.0),
        );
    }

    #[test]
    fn no_limit_and_no_files_are_none() {
        gives(&[], None, None);
        gives(
            &[
                ("sys/fs/cgroup/cgroup.controllers", ""),
                ("sys/fs/cgroup/memory.max", "max\n"),
                ("sys/fs/cgroup/cpu.max", "max 100000\n"),
            ],
            None,
            None,
        );
        gives(&[("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")], None, None);
    }
}
