//! What log lines lose before they leave: what was appended to them, and frames of other people's code.

/// Frames of a stack that are kept: the innermost.
const FRAMES_MAX: usize = 20;
/// What stands for a frame of code that is not ours.
const REDACTED: &str = "<REDACTED>";
/// Crates of the language, which everybody has.
const LANGUAGE: [&str; 5] = ["std", "core", "alloc", "backtrace", "test"];

/// `text` without a final ` [12 skipped]`, which would make every line another one.
pub(super) fn without_skipped(text: &str) -> &str {
    let found = text.trim_end().strip_suffix(" skipped]").and_then(|rest| rest.rsplit_once(" ["));
    match found {
        Some((kept, number))
            if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            kept
        }
        _ => text,
    }
}

/// A backtrace as the standard library prints it, without what is not ours.
pub(super) fn stack(text: &str, own: &[&str]) -> String {
    let mut kept = Vec::new();
    let (mut frames, mut ours) = (0, false);
    for line in text.lines() {
        let line = line.trim();
        if let Some(place) = line.strip_prefix("at ") {
            // Of frames that are ours, from the sources on: the folder is this machine's business.
            if let Some(from) = place.rfind("src/").filter(|_| ours) {
                kept.push(format!("    at {}", &place[from..]));
            }
            continue;
        }
        let Some((_, symbol)) = line.split_once(": ") else { continue };
        frames += 1;
        if frames > FRAMES_MAX {
            break;
        }
        ours = is_own(symbol, own);
        kept.push(if ours { symbol.to_owned() } else { REDACTED.to_owned() });
    }
    kept.join("\n")
}

/// True if every path in a symbol begins in an own crate: `<shop::Basket as core::fmt::Debug>::fmt`
/// names two.
fn is_own(symbol: &str, own: &[&str]) -> bool {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$';
    let paths = symbol.split(|c| !in_path(c)).filter(|path| !path.is_empty());
    let mut roots = paths
        // `>::fmt` goes on with a path that began before.
        .filter(|path| !path.starts_with("::"))
        .filter_map(|path| path.split_once("::"))
        .map(|(root, _)| root)
        .peekable();
    roots.peek().is_some() && roots.all(|root| own.contains(&root) || LANGUAGE.contains(&root))
}

/// Where in its crate a source file is: what comes after the last `src/`, with it.
pub(super) fn place(file: &str) -> &str {
    file.rfind("src/").map_or("", |from| &file[from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_skipped_lines_is_cut() {
        for (text, kept) in [
            ("boom [12 skipped]", "boom"),
            ("boom [12 skipped] ", "boom"),
            ("boom [x skipped]", "boom [x skipped]"),
            ("boom [ skipped]", "boom [ skipped]"),
            ("boom [12 skipped] again", "boom [12 skipped] again"),
            ("boom", "boom"),
            ("", ""),
        ] {
            assert_eq!(without_skipped(text), kept);
        }
    }

    #[test]
    fn frames_of_others_are_redacted_with_their_places() {
        let text = "\
   0: whippet::forward::worker::send
             at /home/me/whippet/src/forward/worker.rs:9:5
   1: shop::main
             at ./src/main.rs:3:5
   2: core::ops::function::FnOnce::call_once
             at /rustc/abc/library/core/src/ops/function.rs:250:5
   3: <shop::Basket as core::fmt::Debug>::fmt
   4: <whippet::Server as core::ops::Drop>::drop
   5: main
   6: __libc_start_main
";
        assert_eq!(
            stack(text, &["whippet"]),
            "\
whippet::forward::worker::send
    at src/forward/worker.rs:9:5
<REDACTED>
core::ops::function::FnOnce::call_once
    at src/ops/function.rs:250:5
<REDACTED>
<whippet::Server as core::ops::Drop>::drop
<REDACTED>
<REDACTED>"
        );
    }

    #[test]
    fn the_innermost_20_frames_stay() {
        let text: String = (0..30).map(|frame| format!("  {frame}: whippet::f{frame}\n")).collect();
        let kept = stack(&text, &["whippet"]);
        assert_eq!(kept.lines().count(), 20);
        assert!(kept.starts_with("whippet::f0\n") && kept.ends_with("whippet::f19"));
        assert_eq!(stack("disabled backtrace", &["whippet"]), "");
    }

    #[test]
    fn a_place_names_no_folder_of_the_machine() {
        assert_eq!(
            place("/home/user/.cargo/registry/src/index/ureq-3.5.0/src/run.rs"),
            "src/run.rs"
        );
        assert_eq!(place("src/server/lane.rs"), "src/server/lane.rs");
        assert_eq!(place("build.rs"), "");
    }
}
