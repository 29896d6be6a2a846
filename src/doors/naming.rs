//! What the configuration adds to what payloads say of names and environment.

/// Settings of the doors that name metrics themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Naming {
    /// Before every name; usually empty.
    pub prefix: String,
    /// The environment of a payload that names none; empty: none.
    pub env: String,
}

impl Naming {
    /// Writes the name made of `parts` over `name`.
    pub fn write(&self, name: &mut Vec<u8>, parts: &[&str]) {
        name.clear();
        name.extend_from_slice(self.prefix.as_bytes());
        parts.iter().for_each(|part| name.extend_from_slice(part.as_bytes()));
    }

    /// The environment of a payload.
    pub fn env<'a>(&'a self, sent: &'a [u8]) -> &'a [u8] {
        if sent.is_empty() { self.env.as_bytes() } else { sent }
    }
}
