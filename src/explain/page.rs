//! The text of one explanation: sections of indented rows.

/// Width of a label, in columns.
const LABEL_WIDTH: usize = 10;

/// A page that is being written.
pub(super) struct Page(String);

impl Page {
    pub fn new(title: &str) -> Self {
        Page(format!("{title}\n"))
    }

    /// Starts a section.
    pub fn section(&mut self, head: &str) {
        self.0.push_str(head);
        self.0.push('\n');
    }

    /// `  label      text`
    pub fn row(&mut self, label: &str, text: &str) {
        self.line(&format!("{label:LABEL_WIDTH$} {text}"));
    }

    pub fn line(&mut self, text: &str) {
        self.0.push_str("  ");
        self.0.push_str(text);
        self.0.push('\n');
    }

    pub fn finish(self) -> String {
        self.0
    }
}
