//! What the program is made of: products, integrations, dependencies.

use std::collections::BTreeMap;
use std::fmt;

use super::payload::{Dependency, Integration, Payload, ProductState};

/// Products and integrations kept between two flushes, as in libdatadog.
const ENTRIES_MAX: usize = 5_000;
/// Dependencies in one payload.
const DEPENDENCIES_MAX: usize = 2_000;

/// Products that changed since the last flush.
#[derive(Debug, Default)]
pub(super) struct Products {
    pending: BTreeMap<String, ProductState>,
}

impl Products {
    /// False if there is no room for another name.
    pub fn set(&mut self, name: &str, state: ProductState) -> bool {
        if self.pending.len() == ENTRIES_MAX && !self.pending.contains_key(name) {
            return false;
        }
        self.pending.insert(name.to_owned(), state);
        true
    }

    pub fn payload(&mut self) -> Option<Payload> {
        let products = std::mem::take(&mut self.pending);
        (!products.is_empty()).then_some(Payload::AppProductChange { products })
    }
}

/// Integrations since the last flush.
#[derive(Debug, Default)]
pub(super) struct Integrations {
    pending: Vec<Integration>,
}

impl Integrations {
    /// False if there is no room.
    pub fn add(&mut self, integration: Integration) -> bool {
        if self.pending.len() == ENTRIES_MAX {
            return false;
        }
        // What failed is not enabled, whatever the caller says.
        let enabled = integration.error.is_none();
        self.pending.push(Integration { enabled, ..integration });
        true
    }

    pub fn payload(&mut self) -> Option<Payload> {
        let integrations = std::mem::take(&mut self.pending);
        (!integrations.is_empty()).then_some(Payload::AppIntegrationsChange { integrations })
    }
}

type Loader = Box<dyn FnOnce() -> Vec<Dependency> + Send>;

/// Dependencies: loaded once, at the first flush, and told in pieces.
#[derive(Default)]
pub(super) struct Dependencies {
    loader: Option<Loader>,
    left: std::vec::IntoIter<Dependency>,
}

impl Dependencies {
    pub fn load_with(&mut self, loader: Loader) {
        self.loader = Some(loader);
    }

    /// Takes back what was taken to load it without a lock; a loader that came meanwhile stands.
    pub fn give_back(&mut self, taken: Dependencies) {
        self.left = taken.left;
    }

    /// The next piece, at most one per flush.
    pub fn payload(&mut self) -> Option<Payload> {
        if let Some(loader) = self.loader.take() {
            self.left = loader().into_iter();
        }
        let dependencies: Vec<Dependency> = self.left.by_ref().take(DEPENDENCIES_MAX).collect();
        (!dependencies.is_empty()).then_some(Payload::AppDependenciesLoaded { dependencies })
    }
}

impl fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependencies").field("left", &self.left.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_told_when_they_change() {
        let mut products = Products::default();
        let state = |enabled| ProductState { enabled, version: "1".into(), error: None };
        products.set("a", state(true));
        products.set("a", state(false));
        products.set("b", state(true));
        let expected = BTreeMap::from([("a".into(), state(false)), ("b".into(), state(true))]);
        assert_eq!(products.payload(), Some(Payload::AppProductChange { products: expected }));
        assert_eq!(products.payload(), None);
    }

    #[test]
    fn an_integration_with_an_error_is_not_enabled() {
        let mut integrations = Integrations::default();
        let failed = Integration { error: Some("no".into()), ..Integration::new("kafka", "2") };
        integrations.add(failed.clone());
        integrations.add(Integration::new("redis", "1"));
        let Some(Payload::AppIntegrationsChange { integrations: told }) = integrations.payload()
        else {
            panic!("integrations")
        };
        assert_eq!(
            told,
            [Integration { enabled: false, ..failed }, Integration::new("redis", "1")]
        );
        assert_eq!(integrations.payload(), None);
    }

    #[test]
    fn dependencies_are_loaded_once_and_told_in_pieces_of_2000() {
        for (total, pieces) in [
            (0, &[][..]),
            (1, &[1]),
            (1_999, &[1_999]),
            (2_000, &[2_000]),
            (2_001, &[2_000, 1]),
            (4_500, &[2_000, 2_000, 500]),
        ] {
            let mut dependencies = Dependencies::default();
            dependencies.load_with(Box::new(move || {
                let one =
                    |number: usize| Dependency { name: number.to_string(), version: "1".into() };
                (0..total).map(one).collect()
            }));
            let mut told = Vec::new();
            while let Some(Payload::AppDependenciesLoaded { dependencies }) = dependencies.payload()
            {
                told.push(dependencies.len());
            }
            assert_eq!(told, pieces, "{total}");
        }
    }

    #[test]
    fn what_waits_for_a_flush_is_bounded() {
        let (mut integrations, mut products) = (Integrations::default(), Products::default());
        let state = ProductState { enabled: true, version: String::new(), error: None };
        for number in 0..ENTRIES_MAX {
            assert!(integrations.add(Integration::new("x", "1")));
            assert!(products.set(&number.to_string(), state.clone()));
        }
        assert!(!integrations.add(Integration::new("x", "1")));
        assert!(!products.set("one more", state.clone()));
        assert!(products.set("0", state));
    }
}
