//! From command line arguments to one line of the protocol.

use anyhow::bail;

/// The bytes of a line, and whether text that the protocol cannot carry is allowed.
pub(super) struct Builder {
    line: Vec<u8>,
    force: bool,
}

impl Builder {
    /// A line that begins with `head`.
    pub fn new(head: impl Into<Vec<u8>>, force: bool) -> Self {
        Builder { line: head.into(), force }
    }

    /// Appends `|`, `prefix` and `text`; nothing if there is no text.
    pub fn field(&mut self, prefix: &str, text: Option<&str>) -> anyhow::Result<()> {
        if let Some(text) = text {
            self.allows(prefix.trim_end_matches(':'), text, "|\n")?;
            self.line.extend_from_slice(format!("|{prefix}{text}").as_bytes());
        }
        Ok(())
    }

    /// Appends all tags as one field.
    pub fn tags(&mut self, tags: &[String]) -> anyhow::Result<()> {
        for (at, tag) in tags.iter().enumerate() {
            self.allows("tag", tag, "|\n")?;
            self.line.extend_from_slice(if at == 0 { b"|#" } else { b"," });
            self.line.extend_from_slice(tag.as_bytes());
        }
        Ok(())
    }

    /// Refuses text that would end its field early on the wire.
    pub fn allows(&self, what: &str, text: &str, forbidden: &str) -> anyhow::Result<()> {
        match text.chars().find(|character| forbidden.contains(*character)) {
            Some(found) if !self.force => {
                bail!("{what} {text:?} contains {found:?}, which would end the field on the wire")
            }
            _ => Ok(()),
        }
    }

    pub fn finish(self) -> Vec<u8> {
        self.line
    }
}

/// A newline as the two bytes `\n`, as clients write it.
pub(super) fn escaped(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(force: bool, tags: &[&str], host: Option<&str>) -> anyhow::Result<String> {
        let mut builder = Builder::new("_sc|x|0", force);
        builder.field("h:", host)?;
        builder.tags(&tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>())?;
        Ok(String::from_utf8(builder.finish()).unwrap())
    }

    #[test]
    fn absent_fields_leave_no_trace() {
        assert_eq!(line(false, &[], None).unwrap(), "_sc|x|0");
        assert_eq!(line(false, &["a", "b:1"], Some("web")).unwrap(), "_sc|x|0|h:web|#a,b:1");
    }

    #[test]
    fn what_would_end_early_is_refused_unless_forced() {
        let refused = line(false, &["a|b"], None).unwrap_err().to_string();
        assert_eq!(refused, "tag \"a|b\" contains '|', which would end the field on the wire");
        assert!(line(false, &[], Some("a\nb")).is_err());
        assert_eq!(line(true, &["a|b"], None).unwrap(), "_sc|x|0|#a|b");
    }

    #[test]
    fn newlines_are_escaped_whatever_the_platform() {
        assert_eq!(escaped("a\nb\r\nc\\n"), "a\\nb\\nc\\n");
    }
}
