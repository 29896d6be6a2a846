//! Inside a room no files import each other in a circle.
//!
//! An arrow is any path that names another file of the room: `use super::x`, `super::x::Y`,
//! `crate::room::x`, `self::x`. A name that a `mod.rs` re-exports counts as an arrow to the file it
//! comes from. The file of a module composes the files below it, so arrows between the two do not
//! count. Comments and tests do not count either.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{root, sources};

/// Every folder of the library.
fn rooms() -> Vec<String> {
    let entries = fs::read_dir(root()).expect("the sources").map(|entry| entry.expect("an entry"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect()
}

/// Segments of a module path below the room.
type Module = Vec<String>;

/// A path as it is written: `super::a::B` is `[super, a, B]`; its last name may be renamed.
#[derive(Debug, PartialEq)]
struct Path {
    segments: Vec<String>,
    /// What the path is called here.
    name: String,
    /// Part of a `use` declaration.
    imported: bool,
}

/// The code of a file in words and symbols, without comments and without what follows `#[cfg(test)]`
/// before an inline module.
fn tokens(source: &str) -> Vec<String> {
    let lines: Vec<&str> =
        source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    // Tests stand at the end of a file.
    let is_test = |pair: &[&str]| {
        pair[0] == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].ends_with('{')
    };
    let end = lines.windows(2).position(is_test).unwrap_or(lines.len());
    let mut tokens: Vec<String> = Vec::new();
    for line in &lines[..end] {
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            if c.is_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            if !word.is_empty() {
                tokens.push(std::mem::take(&mut word));
            }
            match (c, tokens.last_mut()) {
                (':', Some(last)) if last == ":" => *last = "::".into(),
                _ if c.is_whitespace() => {}
                _ => tokens.push(c.into()),
            }
        }
    }
    tokens
}

/// Every path of the code that has at least two segments, and all of `use` declarations.
fn paths(tokens: &[String]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let imported = tokens[at] == "use";
        at += usize::from(imported);
        let starts = tokens.get(at).is_some_and(|word| is_word(word));
        if imported || (starts && tokens.get(at + 1).is_some_and(|next| next == "::")) {
            let before = found.len();
            at = tree(tokens, at, &mut Vec::new(), &mut found);
            found[before..].iter_mut().for_each(|path: &mut Path| path.imported = imported);
        } else {
            at += 1;
        }
    }
    found
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads one tree of paths behind `prefix`; returns where it ends.
fn tree(
    tokens: &[String],
    mut at: usize,
    prefix: &mut Vec<String>,
    found: &mut Vec<Path>,
) -> usize {
    let depth = prefix.len();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "::" => at += 1,
            "{" if at > 0 && tokens[at - 1] == "::" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = tree(tokens, at, prefix, found).max(at + 1);
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                prefix.truncate(depth);
                return at + 1;
            }
            "*" if at > 0 && tokens[at - 1] == "::" => {
                prefix.push("*".into());
                at += 1;
                break;
            }
            word if is_word(word) && (prefix.len() == depth || tokens[at - 1] == "::") => {
                prefix.push(word.into());
                at += 1;
            }
            _ => break,
        }
    }
    let mut name = prefix.last().cloned().unwrap_or_default();
    if tokens.get(at).is_some_and(|token| token == "as")
        && let Some(renamed) = tokens.get(at + 1)
    {
        name.clone_from(renamed);
        at += 2;
    }
    // `{self}` is the module itself.
    if prefix.last().is_some_and(|last| last == "self") && prefix.len() > 1 {
        prefix.pop();
        if name == "self" {
            name = prefix.last().cloned().unwrap_or_default();
        }
    }
    found.push(Path { segments: prefix.clone(), name, imported: false });
    prefix.truncate(depth);
    at
}

/// The files of one room by module, those of tests apart.
struct Room {
    name: String,
    files: BTreeMap<Module, Vec<Path>>,
}

impl Room {
    fn new(name: &str, sources: &[(Module, String)]) -> Self {
        let of_tests: BTreeSet<Module> =
            sources.iter().flat_map(|(module, source)| test_modules(module, source)).collect();
        let is_test =
            |module: &Module| (1..=module.len()).any(|length| of_tests.contains(&module[..length]));
        let files = sources
            .iter()
            .filter(|(module, _)| !is_test(module))
            .map(|(module, source)| (module.clone(), paths(&tokens(source))));
        Room { name: name.into(), files: files.collect() }
    }

    fn read(name: &str) -> Self {
        let folder = root().join(name);
        let read = |file: std::path::PathBuf| {
            let inside = file.strip_prefix(&folder).expect("a file of the room").with_extension("");
            let mut module: Module =
                inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module.last().is_some_and(|last| last == "mod") {
                module.pop();
            }
            (module, fs::read_to_string(&file).expect("a source"))
        };
        let sources: Vec<(Module, String)> = sources(&folder).into_iter().map(read).collect();
        assert!(!sources.is_empty(), "no room {name}");
        Room::new(name, &sources)
    }

    /// The path from the room's root, if it stays in the room.
    fn absolute(&self, from: &Module, path: &[String]) -> Option<Vec<String>> {
        let first = path.first()?;
        let (base, rest) = match first.as_str() {
            "crate" if path.get(1) == Some(&self.name) => (Vec::new(), &path[2..]),
            "self" => (from.clone(), &path[1..]),
            "super" => {
                let ups = path.iter().take_while(|segment| *segment == "super").count();
                (from[..from.len().checked_sub(ups)?].to_vec(), &path[ups..])
            }
            // A module below the file that names it.
            _ if self.files.contains_key(&[&from[..], &path[..1]].concat()) => (from.clone(), path),
            _ => return None,
        };
        Some([base, rest.to_vec()].concat())
    }

    /// The file in which the item behind an absolute path stands.
    fn file_of(&self, path: &[String], depth: usize) -> Option<&Module> {
        let length = (0..=path.len()).rev().find(|at| self.files.contains_key(&path[..*at]))?;
        let (module, paths) = self.files.get_key_value(&path[..length])?;
        let exported = path.get(length).and_then(|item| {
            let export = paths.iter().find(|path| path.imported && path.name == *item)?;
            let behind = self.absolute(module, &export.segments)?;
            if depth == 0 { None } else { self.file_of(&behind, depth - 1) }
        });
        exported.or(Some(module))
    }

    /// The files that one file imports, those above and below it apart.
    fn arrows(&self, from: &Module) -> BTreeSet<&Module> {
        let paths = self.files.get(from).into_iter().flatten();
        let files = paths.filter_map(|path| {
            let absolute = self.absolute(from, &path.segments)?;
            self.file_of(&absolute, 8)
        });
        files.filter(|to| !to.starts_with(from) && !from.starts_with(to)).collect()
    }

    /// A circle of files, the first one twice.
    fn circle(&self) -> Option<Vec<Module>> {
        let mut done = BTreeSet::new();
        self.files.keys().find_map(|file| self.circle_through(file, &mut Vec::new(), &mut done))
    }

    fn circle_through<'a>(
        &'a self,
        file: &'a Module,
        way: &mut Vec<&'a Module>,
        done: &mut BTreeSet<&'a Module>,
    ) -> Option<Vec<Module>> {
        if let Some(start) = way.iter().position(|seen| *seen == file) {
            return Some(way[start..].iter().chain([&file]).map(|seen| (*seen).clone()).collect());
        }
        if done.contains(file) {
            return None;
        }
        way.push(file);
        let found = self.arrows(file).into_iter().find_map(|to| self.circle_through(to, way, done));
        way.pop();
        done.insert(file);
        found
    }
}

/// Modules that a file declares for tests alone.
fn test_modules(module: &Module, source: &str) -> Vec<Module> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0].starts_with("#[cfg(test)]"));
    let names = declared.filter_map(|pair| pair[1].split("mod ").nth(1)?.strip_suffix(';'));
    names.map(|name| [&module[..], &[name.to_owned()]].concat()).collect()
}

#[test]
fn no_files_of_a_room_import_each_other_in_a_circle() {
    let circles: Vec<String> = rooms()
        .into_iter()
        .filter_map(|name| Some((Room::read(&name).circle()?, name)))
        .map(|(circle, name)| {
            let files: Vec<String> = circle.iter().map(|module| module.join("/")).collect();
            format!("{name}: {}", files.join(" -> "))
        })
        .collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[track_caller]
fn arrows(files: &[(&str, &str)], expect: &[&str]) {
    let module = |name: &str| -> Module {
        name.split('/').filter(|part| !part.is_empty()).map(Into::into).collect()
    };
    let files: Vec<(Module, String)> =
        files.iter().map(|(name, source)| (module(name), (*source).into())).collect();
    let room = Room::new("room", &files);
    let found: Vec<String> = room
        .files
        .keys()
        .flat_map(|from| room.arrows(from).into_iter().map(move |to| (from, to)))
        .map(|(from, to)| format!("{} -> {}", from.join("/"), to.join("/")))
        .collect();
    assert_eq!(found, expect);
}

#[test]
fn arrows_are_found_in_every_form_of_a_path() {
    arrows(&[("", "mod a; mod b;"), ("a", "use super::b::X;"), ("b", "")], &["a -> b"]);
    arrows(&[("a", "let x = super::b::make();"), ("b", "")], &["a -> b"]);
    arrows(&[("a", "use crate::room::b;"), ("b", "")], &["a -> b"]);
    arrows(&[("a", "use crate::other::b;"), ("b", "")], &[]);
    arrows(
        &[("a", "use super::{c::{self, Y}, b::X as Z};"), ("b", ""), ("c", "")],
        &["a -> b", "a -> c"],
    );
    arrows(&[("a", "// super::b::X\n/// super::b\nfn f() {}"), ("b", "")], &[]);
    arrows(&[("a", "#[cfg(test)]\nmod tests {\n use super::super::b::X;\n}"), ("b", "")], &[]);
    arrows(&[("", "#[cfg(test)]\nmod a;"), ("a", "use super::b::X;"), ("b", "")], &[]);
}

#[test]
fn a_re_export_is_an_arrow_to_where_the_item_stands() {
    let composer = "mod a; mod b;\npub use b::{X, Y as Z};\npub use self::b::W;\nstruct Own;";
    for name in ["X", "Z", "W"] {
        arrows(&[("", composer), ("a", &format!("use super::{name};")), ("b", "")], &["a -> b"]);
    }
    arrows(&[("", composer), ("a", "use super::Own;"), ("b", "")], &[]);
    arrows(
        &[("", "pub use d::X;"), ("a", "use super::X;"), ("d", "pub use e::X;"), ("d/e", "")],
        &["a -> d/e"],
    );
}

#[test]
fn a_module_composes_the_files_below_it() {
    let files = [("a", "mod b; use b::X; struct Y;"), ("a/b", "use super::Y;")];
    arrows(&files, &[]);
    arrows(
        &[("a/b", "use super::super::c::Z;"), ("c", "use super::a::b::X;")],
        &["a/b -> c", "c -> a/b"],
    );
}

#[test]
fn a_circle_is_found_and_shown() {
    let file = |name: &str, source: &str| (vec![name.to_owned()], source.to_owned());
    let files =
        [file("a", "use super::b;"), file("b", "use super::c;"), file("c", "use super::b::X;")];
    let circle: Vec<String> = Room::new("room", &files)
        .circle()
        .expect("one")
        .iter()
        .map(|file| file.join("/"))
        .collect();
    assert_eq!(circle, ["b", "c", "b"]);
    assert_eq!(Room::new("room", &files[..2]).circle(), None);
}
