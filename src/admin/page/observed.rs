//! What the page remembers between two looks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::config::{Loaded, ValueOrigin};
use crate::explain::Explainer;
use crate::watch::{History, Losses};

/// One key of the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ConfigEntry {
    pub key: &'static str,
    /// Without secrets.
    pub value: String,
    /// The file with its line, the variable or the flag; none for a default.
    pub origin: Option<String>,
}

/// History, times of losses, and what changes with a reload.
pub(crate) struct Observed {
    pub(super) history: Mutex<History>,
    pub(super) losses: Mutex<Losses>,
    /// The last answer that is the same for everybody, and when it was made.
    pub(super) shared: Mutex<Option<(Instant, Arc<str>)>>,
    in_force: Mutex<InForce>,
}

#[derive(Clone)]
pub(super) struct InForce {
    /// Moves with every reload.
    pub version: u64,
    pub entries: Arc<[ConfigEntry]>,
    pub explainer: Arc<Explainer>,
}

impl Observed {
    /// At the start, with the configuration in force.
    pub fn new(loaded: &Loaded, explainer: Explainer) -> Self {
        let in_force =
            InForce { version: 1, entries: entries(loaded), explainer: Arc::new(explainer) };
        Observed {
            history: Mutex::default(),
            losses: Mutex::default(),
            shared: Mutex::default(),
            in_force: Mutex::new(in_force),
        }
    }

    /// A reload took over another configuration.
    pub fn reload(&self, loaded: &Loaded, explainer: Explainer) {
        let mut in_force = lock(&self.in_force);
        in_force.version += 1;
        in_force.entries = entries(loaded);
        in_force.explainer = Arc::new(explainer);
    }

    pub(super) fn in_force(&self) -> InForce {
        lock(&self.in_force).clone()
    }
}

fn entries(loaded: &Loaded) -> Arc<[ConfigEntry]> {
    let entry = |(key, value, origin): (_, _, ValueOrigin)| {
        let origin = (origin != ValueOrigin::Default).then(|| origin.to_string());
        ConfigEntry { key, value, origin }
    };
    loaded.effective().into_iter().map(entry).collect()
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
