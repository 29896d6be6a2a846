//! Mistakes in YAML in our words: what is not closed, and what is there twice.

use super::node::At;

/// A file that is not valid YAML, and where.
#[derive(Debug, PartialEq)]
pub(super) struct Broken {
    pub(super) at: At,
    pub(super) message: String,
}

/// The place of the innermost bracket or quote that is still open at the end of the text.
///
/// A bracket or quote has a meaning only where a value or a key begins, or inside a bracket. The text
/// of a block (`|`, `>`) is not told apart, so this is asked only when the text is not valid.
pub(super) fn unclosed(text: &str) -> Option<Broken> {
    let mut open: Vec<(char, At)> = Vec::new();
    let mut quote: Option<(char, At)> = None;
    let (mut line, mut column) = (1, 0);
    // The last character that is not a space, since the line began.
    let mut before = None;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        column += 1;
        let at = At { line, column };
        if character == '\n' {
            (line, column, before) = (line + 1, 0, None);
            continue;
        }
        if let Some((mark, _)) = quote {
            if mark == '"' && character == '\\' {
                column += u32::from(rest.next_if(|next| *next != '\n').is_some());
            } else if character == mark {
                // Two single quotes are one that is meant.
                let twice = mark == '\'' && rest.next_if_eq(&'\'').is_some();
                column += u32::from(twice);
                if !twice {
                    quote = None;
                }
            }
            continue;
        }
        let begins = !open.is_empty() && matches!(before, Some(',' | '[' | '{'))
            || matches!(before, None | Some(':' | '-' | '?'));
        match character {
            '#' if column == 1 || begins => while rest.next_if(|next| *next != '\n').is_some() {},
            '"' | '\'' if begins => quote = Some((character, at)),
            '[' | '{' if begins => open.push((character, at)),
            ']' | '}' => drop(open.pop()),
            _ => {}
        }
        if !character.is_whitespace() {
            before = Some(character);
        }
    }
    if let Some((mark, at)) = quote {
        return Some(Broken { at, message: format!("the {mark} is not closed; add another") });
    }
    // The outermost: what is inside it may be closed by what follows.
    let (bracket, at) = *open.first()?;
    let close = if bracket == '[' { ']' } else { '}' };
    Some(Broken { at, message: format!("the {bracket} is not closed; add {close}") })
}

/// What to say of a key that is there twice in one map; `at` is the second one.
pub(super) fn duplicate(text: &str, at: At) -> String {
    let from = |line: &str| -> Option<String> {
        let indent = usize::try_from(at.column.saturating_sub(1)).ok()?;
        let rest = line.get(indent..)?;
        let blank = line[..indent].chars().all(|c| c == ' ' || c == '-');
        let name = rest.split(':').next().filter(|_| blank && rest.contains(':'))?.trim();
        // Only a name: a file may hold keys in odd places.
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        (!name.is_empty() && name.len() <= 80 && name.chars().all(plain)).then(|| name.to_owned())
    };
    let lines: Vec<&str> = text.lines().collect();
    let second = usize::try_from(at.line).unwrap_or_default().saturating_sub(1);
    let Some(name) = lines.get(second).and_then(|line| from(line)) else {
        return "a key is there twice; remove one".to_owned();
    };
    let first = lines[..second].iter().rposition(|line| from(line).as_ref() == Some(&name));
    match first {
        Some(first) => {
            format!("the key {name} is there twice, first in line {}; remove one", first + 1)
        }
        None => format!("the key {name} is there twice; remove one"),
    }
}
