//! What the configuration adds to what payloads say of names and environment.

use std::sync::Arc;

use arc_swap::ArcSwap;

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

/// The naming in force. All copies are one: a reload counts for all doors from their next request on.
#[derive(Clone, Debug)]
pub(crate) struct SharedNaming(Arc<ArcSwap<Naming>>);

impl SharedNaming {
    pub fn get(&self) -> Arc<Naming> {
        self.0.load_full()
    }

    pub fn set(&self, naming: Naming) {
        self.0.store(Arc::new(naming));
    }
}

impl From<Naming> for SharedNaming {
    fn from(naming: Naming) -> Self {
        SharedNaming(Arc::new(ArcSwap::from_pointee(naming)))
    }
}
