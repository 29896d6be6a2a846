//! `whippet generate`: manual pages and shell completions, made from the command line itself.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

#[derive(clap::Args)]
pub(super) struct GenerateArgs {
    /// What to print.
    #[arg(value_name = "KIND")]
    kind: Kind,
    /// Write files into this folder instead: every manual page, or the completion under the name
    /// that its shell looks for.
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// The manual page whippet(1); with -o, also one for each command.
    Man,
    /// Completion for Bash.
    Bash,
    /// Completion for Zsh.
    Zsh,
    /// Completion for fish.
    Fish,
    /// Completion for Elvish.
    Elvish,
    /// Completion for PowerShell.
    Powershell,
}

impl Kind {
    fn shell(self) -> Option<Shell> {
        match self {
            Self::Man => None,
            Self::Bash => Some(Shell::Bash),
            Self::Zsh => Some(Shell::Zsh),
            Self::Fish => Some(Shell::Fish),
            Self::Elvish => Some(Shell::Elvish),
            Self::Powershell => Some(Shell::PowerShell),
        }
    }
}

/// Prints to standard output, or writes files and prints their paths.
pub(super) fn run(args: &GenerateArgs, mut program: Command) -> anyhow::Result<ExitCode> {
    let files = match args.kind.shell() {
        None => manual(program),
        Some(shell) => vec![completion(shell, &mut program)],
    };
    let mut out = io::stdout().lock();
    let Some(folder) = &args.output else {
        out.write_all(&files[0].1)?;
        return Ok(ExitCode::SUCCESS);
    };
    let failed = |path: &Path| format!("cannot write {}", path.display());
    fs::create_dir_all(folder).with_context(|| failed(folder))?;
    for (name, content) in files {
        let path = folder.join(name);
        fs::write(&path, content).with_context(|| failed(&path))?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

type File = (String, Vec<u8>);

fn completion(shell: Shell, program: &mut Command) -> File {
    let mut script = Vec::new();
    clap_complete::generate(shell, program, "whippet", &mut script);
    let name = match shell {
        Shell::Zsh => "_whippet",
        Shell::Fish => "whippet.fish",
        Shell::Elvish => "whippet.elv",
        Shell::PowerShell => "whippet.ps1",
        _ => "whippet",
    };
    (name.to_owned(), script)
}

/// whippet(1), then whippet-run(1) and so on.
fn manual(program: Command) -> Vec<File> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add_pages(&program, None, &mut pages);
    pages
}

fn add_pages(command: &Command, parent: Option<&str>, pages: &mut Vec<File>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push((format!("{name}.1"), page(command, parent)));
    for child in command.get_subcommands().filter(|child| !child.is_hide_set()) {
        add_pages(child, Some(name), pages);
    }
}

/// clap's own layout would fill the lines of the examples into paragraphs.
fn page(command: &Command, parent: Option<&str>) -> Vec<u8> {
    let man = Man::new(command.clone())
        .source(concat!("whippet ", env!("CARGO_PKG_VERSION")))
        .manual("whippet manual");
    let mut out = Vec::new();
    let mut written = man
        .render_title(&mut out)
        .and_then(|()| man.render_name_section(&mut out))
        .and_then(|()| man.render_synopsis_section(&mut out))
        .and_then(|()| man.render_description_section(&mut out))
        .and_then(|()| man.render_options_section(&mut out));
    if command.has_subcommands() {
        written = written.and_then(|()| man.render_subcommands_section(&mut out));
    }
    let after = command.get_after_long_help().or_else(|| command.get_after_help());
    let rest = after_help(&after.map(ToString::to_string).unwrap_or_default(), parent);
    written = written.and_then(|()| out.write_all(rest.to_roff().as_bytes()));
    written.expect("writing to a vector succeeds");
    out
}

/// What follows the options: notes in paragraphs, examples line by line, and the page above this one.
fn after_help(text: &str, parent: Option<&str>) -> Roff {
    let (examples, notes): (Vec<&str>, Vec<&str>) = text
        .split("\n\n")
        .filter(|part| !part.is_empty())
        .partition(|part| part.starts_with("Examples:"));
    let mut roff = Roff::new();
    for (number, note) in notes.iter().enumerate() {
        if number == 0 {
            roff.control("SH", ["NOTES"]);
        } else {
            roff.control("PP", []);
        }
        for line in note.lines() {
            roff.text([roman(line.trim_start())]);
        }
    }
    for part in examples {
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in part.lines().skip(1) {
            roff.text([roman(line.trim_start())]);
        }
        roff.control("fi", []);
    }
    if let Some(parent) = parent {
        roff.control("SH", ["SEE ALSO"]).text([roman(format!("{parent}(1)"))]);
    }
    roff
}
