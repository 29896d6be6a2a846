//! From the inode of a control group to its container: clients that cannot see their own id send
//! the inode of the folder that is `/sys/fs/cgroup` to them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::container_id::in_folder_name;

/// Folders looked at in one scan.
const FOLDERS_MAX: usize = 65_536;
/// Levels below the root; nested containers reach about ten.
const DEPTH_MAX: usize = 16;

/// The containers by inode, as of one scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inodes(HashMap<u64, Box<[u8]>>);

impl Inodes {
    /// Walks the control groups below `root` (`/sys/fs/cgroup`): version 2, or the controllers of
    /// version 1, whose folders have inodes of their own. Links are not followed.
    #[must_use]
    pub fn scan(root: &Path) -> Self {
        let mut found = HashMap::new();
        let mut waiting: Vec<(PathBuf, usize)> = vec![(root.to_path_buf(), 0)];
        let mut seen = 0;
        while let Some((folder, depth)) = waiting.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                seen += 1;
                if seen > FOLDERS_MAX {
                    return Inodes(found);
                }
                if let Some(id) = entry.file_name().to_str().and_then(in_folder_name) {
                    found.insert(inode(&entry), Box::from(id.as_bytes()));
                }
                if depth + 1 < DEPTH_MAX {
                    waiting.push((entry.path(), depth + 1));
                }
            }
        }
        Inodes(found)
    }

    /// The container id.
    #[must_use]
    pub fn container(&self, inode: u64) -> Option<&[u8]> {
        self.0.get(&inode).map(AsRef::as_ref)
    }

    /// Inodes for which the two disagree.
    pub(super) fn differing<'a>(&'a self, other: &'a Inodes) -> impl Iterator<Item = u64> + 'a {
        let all = self.0.keys().chain(other.0.keys().filter(|inode| !self.0.contains_key(inode)));
        all.filter(|inode| self.0.get(inode) != other.0.get(inode)).copied()
    }
}

fn inode(entry: &fs::DirEntry) -> u64 {
    use std::os::unix::fs::DirEntryExt;
    entry.ino()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const ID: &str = "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860";

    #[test]
    fn folders_of_containers_are_found_at_any_level() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("kubepods.slice/pod1.slice").join(format!("crio-{ID}.scope"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(root.path().join(ID), "a file, not a group").unwrap();
        let inodes = Inodes::scan(root.path());
        let of = |path: &Path| inodes.container(fs::metadata(path).unwrap().ino());
        assert_eq!(of(&deep), Some(ID.as_bytes()));
        assert_eq!(of(deep.parent().unwrap()), None);
        assert_eq!(of(&root.path().join(ID)), None);
        assert_eq!(inodes.0.len(), 1);
    }

    #[test]
    fn a_link_in_a_circle_and_a_missing_root_end() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("circle")).unwrap();
        assert_eq!(Inodes::scan(root.path()), Inodes::default());
        assert_eq!(Inodes::scan(&root.path().join("none")), Inodes::default());
    }

    #[test]
    fn new_gone_and_changed_inodes_differ() {
        let inodes = |rows: &[(u64, &str)]| {
            Inodes(rows.iter().map(|(inode, id)| (*inode, Box::from(id.as_bytes()))).collect())
        };
        let (old, new) =
            (inodes(&[(1, "a"), (2, "b"), (3, "c")]), inodes(&[(1, "a"), (2, "x"), (4, "d")]));
        let mut differing: Vec<u64> = old.differing(&new).collect();
        differing.sort_unstable();
        assert_eq!(differing, [2, 3, 4]);
    }
}
