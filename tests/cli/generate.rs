//! `whippet generate`: manual pages that their readers accept, completions that their shells load and
//! that complete. A reader or shell that is not installed is named and not asked.

use std::path::Path;
use std::process::Command;

use super::command::run;

fn written(kind: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let got = run(&["generate", kind, "-o", folder.path().to_str().unwrap()]);
    assert_eq!((got.code, got.stderr.as_str()), (0, ""), "{kind}");
    folder
}

/// What it prints on both outputs, and whether it was content; none where it is not installed.
fn asked(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let Ok(output) = Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output() else {
        println!("{program} is not installed: nothing was checked");
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

fn pages(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().path().display().to_string()).collect()
}

#[test]
fn every_command_that_help_lists_has_a_page() {
    let folder = written("man");
    let help = run(&["--help"]).stdout;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    let mut found = 0;
    for name in names.filter(|name| *name != "help") {
        assert!(folder.path().join(format!("whippet-{name}.1")).is_file(), "{name}");
        found += 1;
    }
    assert!(found > 15, "{help}");
    assert!(folder.path().join("whippet-send-metric.1").is_file());
    let page = run(&["generate", "man"]).stdout;
    assert_eq!(page, std::fs::read_to_string(folder.path().join("whippet.1")).unwrap());
    // The examples keep their lines.
    let example = "whippet send metric page.views 1          send it a metric\n";
    assert!(page.split(".SH EXAMPLES\n.nf\n").nth(1).unwrap().contains(example), "{page}");
}

#[test]
fn readers_of_manual_pages_find_no_fault() {
    let folder = written("man");
    for page in pages(folder.path()) {
        if let Some((good, text)) = asked("mandoc", &["-T", "lint", "-W", "error", &page]) {
            assert!(good && text.is_empty(), "{page}: {text}");
        }
        let arguments = ["--warnings", "-E", "UTF-8", "-l", "-T", "utf8", &page];
        if let Some((good, text)) = asked("man", &arguments) {
            assert!(good && !text.contains("warning"), "{page}: {text}");
            assert!(text.contains("SYNOPSIS"), "{page}: {text}");
        }
    }
}

#[test]
fn shells_load_their_completion_and_complete() {
    let bash = "source \"$1/whippet\"; COMP_WORDS=(whippet check-); COMP_CWORD=1; \
                _whippet whippet check- whippet; echo \"${COMPREPLY[@]}\"";
    let zsh = "autoload -Uz compinit; compinit -u -D; source \"$1/_whippet\"; \
               [ \"$_comps[whippet]\" = _whippet ] || exit 1; \
               _describe() { print -rl -- \"${(@P)4}\" }; _whippet_commands";
    let fish = "source $argv[1]/whippet.fish; complete -C'whippet check-'";
    // The module of the editor exists only at a prompt: what the script uses of it stands in here.
    let elvish = "var completion: = (ns [&arg-completer=[&]]); \
                  var edit: = (ns [&completion:=$completion: \
                  &complex-candidate~={|stem &display='' &code-suffix=''| put $stem}]); \
                  eval &ns=(ns [&edit:=$edit:]) (slurp < $args[0]/whippet.elv); \
                  $edit:completion:arg-completer[whippet] whippet check-";
    for (kind, shell, script) in [
        ("bash", "bash", vec!["-c", bash, "bash"]),
        ("zsh", "zsh", vec!["-fc", zsh, "zsh"]),
        ("fish", "fish", vec!["--no-config", "-c", fish]),
        ("elvish", "elvish", vec!["-norc", "-c", elvish]),
    ] {
        let folder = written(kind);
        let mut arguments = script.clone();
        arguments.push(folder.path().to_str().unwrap());
        if let Some((good, text)) = asked(shell, &arguments) {
            assert!(good && text.contains("check-config"), "{shell}: {text}");
        }
    }
    let script = run(&["generate", "powershell"]).stdout;
    assert!(script.contains("Register-ArgumentCompleter -Native -CommandName 'whippet'"));
    // The name before it was moved.
    assert_eq!(run(&["completions", "powershell"]).stdout, script);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let got = run(&["generate", "man", "-o", "/dev/null/there"]);
    assert_eq!(got.code, 1);
    assert!(got.stderr.contains("cannot write /dev/null/there"), "{}", got.stderr);
}
