//! Enough of a terminal to show what a program draws: text, moves of the cursor, erasing. Colours are
//! left out.

/// A screen of characters.
pub struct Terminal {
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Terminal {
    pub fn new(columns: usize, rows: usize) -> Self {
        Terminal { cells: vec![vec![' '; columns]; rows], row: 0, column: 0 }
    }

    /// Everything a program wrote so far.
    pub fn write(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\u{1b}' if characters.peek() == Some(&'[') => {
                    characters.next();
                    let mut arguments = String::new();
                    // The end is a letter, or one of a few signs that stand above the digits.
                    let end = loop {
                        match characters.next() {
                            Some(c @ ('\u{20}'..='\u{3f}')) => arguments.push(c),
                            other => break other,
                        }
                    };
                    self.control(&arguments, end.unwrap_or(' '));
                }
                '\u{1b}' => drop(characters.next()),
                '\r' => self.column = 0,
                '\n' => self.row += 1,
                character if character.is_control() => {}
                character => self.put(character),
            }
        }
    }

    fn put(&mut self, character: char) {
        let cell = self.cells.get_mut(self.row).and_then(|row| row.get_mut(self.column));
        if let Some(cell) = cell {
            *cell = character;
        }
        self.column += 1;
    }

    fn control(&mut self, arguments: &str, end: char) {
        let mut numbers =
            arguments.split(';').map(|text| text.parse::<usize>().unwrap_or(1).max(1));
        match end {
            'H' | 'f' => {
                self.row = numbers.next().unwrap_or(1) - 1;
                self.column = numbers.next().unwrap_or(1) - 1;
            }
            'C' => self.column += numbers.next().unwrap_or(1),
            'J' => self.cells.iter_mut().for_each(|row| row.fill(' ')),
            'K' => {
                if let Some(row) = self.cells.get_mut(self.row) {
                    let column = self.column.min(row.len());
                    row[column..].fill(' ');
                }
            }
            _ => {}
        }
    }

    /// The screen, without spaces at the end.
    pub fn lines(&self) -> Vec<String> {
        let lines =
            self.cells.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned());
        let mut lines: Vec<String> = lines.collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }
}

#[test]
fn a_screen_is_what_was_written_last() {
    let mut terminal = Terminal::new(10, 3);
    terminal.write("\u{1b}[2J\u{1b}[1;1Hfirst\r\n\u{1b}[31msecond\u{1b}[0m\u{1b}[1;3Hghi\u{1b}[3;1Hgone\u{1b}[3;1H\u{1b}[K".as_bytes());
    assert_eq!(terminal.lines(), ["fighi", "second"]);
}
