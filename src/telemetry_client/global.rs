//! One client for a whole program, that libraries may use before it exists.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use super::client::{Client, FlushReport};
use super::handles::{Count, Distribution, Gauge, Rate};
use super::logs::LogRecord;
use super::metrics::Store;
use super::payload::{Dependency, Integration, Setting};
use super::recorder::Recorder;

/// The client of a program, exchangeable while it is used. Calls before [`Global::start`] are recorded
/// (512 of them, then the oldest goes) and made in order once there is a client; metrics gather whether
/// there is one or not, and their handles stay valid through every exchange.
#[derive(Debug, Default)]
pub struct Global {
    store: Arc<Store>,
    client: ArcSwapOption<Client>,
    recorder: Recorder<Client>,
    /// Starts and stops take turns.
    turn: Mutex<()>,
}

static GLOBAL: LazyLock<Global> = LazyLock::new(Global::default);

/// The client of this program.
#[must_use]
pub fn global() -> &'static Global {
    &GLOBAL
}

impl Global {
    /// Starts `client` if it is not, and makes it the one that is used from here on. Gives back the
    /// one before, which goes on with what it was told so far: stop it if it shall end.
    ///
    /// # Errors
    /// When the system gives no thread; then nothing changes.
    pub fn start(&self, client: Client) -> std::io::Result<Option<Client>> {
        client.start()?;
        Ok(self.exchange(client))
    }

    /// As [`Global::start`] with a client that the caller starts and flushes.
    pub fn exchange(&self, client: Client) -> Option<Client> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.client.load_full();
        // Points are taken whole, so it does not matter which of the two takes one.
        client.adopt(&self.store);
        let shared = Arc::new(client.clone());
        self.recorder.hand_over(&client, || self.client.store(Some(shared)));
        let before = before.map(|before| Client::clone(&before));
        if let Some(before) = &before {
            before.release(&self.store);
        }
        before
    }

    /// Ends the client: see [`Client::stop`]. Calls are recorded again.
    pub fn stop(&self) -> FlushReport {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(client) = self.client.swap(None) else { return FlushReport::default() };
        drop(turn);
        let report = client.stop();
        client.release(&self.store);
        report
    }

    /// The client in use, none before the start and after the end.
    #[must_use]
    pub fn client(&self) -> Option<Client> {
        self.client.load().as_deref().cloned()
    }

    /// Calls the client, or records the call. False if calls were lost before there was a client.
    pub fn with(&self, call: impl FnOnce(&Client) + Send + 'static) -> bool {
        if let Some(client) = &*self.client.load() {
            call(client);
            return true;
        }
        match self.recorder.record_unless(|| self.client.load_full(), call) {
            // It came meanwhile.
            Ok((client, call)) => {
                call(&client);
                true
            }
            Err(complete) => complete,
        }
    }

    /// Calls that were lost before there was a client.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.recorder.lost()
    }

    /// See [`Client::configuration`].
    pub fn configuration(&self, settings: impl IntoIterator<Item = Setting>) -> bool {
        let settings: Vec<Setting> = settings.into_iter().collect();
        self.with(move |client| client.configuration(settings))
    }

    /// See [`Client::integration`].
    pub fn integration(&self, integration: Integration) -> bool {
        self.with(move |client| client.integration(integration))
    }

    /// See [`Client::product_started`].
    pub fn product_started(&self, name: &str) -> bool {
        let name = name.to_owned();
        self.with(move |client| client.product_started(&name))
    }

    /// See [`Client::product_stopped`].
    pub fn product_stopped(&self, name: &str) -> bool {
        let name = name.to_owned();
        self.with(move |client| client.product_stopped(&name))
    }

    /// See [`Client::product_failed`].
    pub fn product_failed(&self, name: &str, code: i64, message: &str) -> bool {
        let (name, message) = (name.to_owned(), message.to_owned());
        self.with(move |client| client.product_failed(&name, code, &message))
    }

    /// See [`Client::dependencies`].
    pub fn dependencies(&self, load: impl FnOnce() -> Vec<Dependency> + Send + 'static) -> bool {
        self.with(move |client| client.dependencies(load))
    }

    /// See [`Client::log`].
    pub fn log(&self, record: LogRecord) -> bool {
        self.with(move |client| client.log(&record))
    }

    /// See [`Client::count`].
    #[must_use]
    pub fn count(&self, namespace: &str, name: &str, tags: &[&str]) -> Count {
        self.store.count(namespace, name, tags)
    }

    /// See [`Client::rate`].
    #[must_use]
    pub fn rate(&self, namespace: &str, name: &str, tags: &[&str]) -> Rate {
        self.store.rate(namespace, name, tags)
    }

    /// See [`Client::gauge`].
    #[must_use]
    pub fn gauge(&self, namespace: &str, name: &str, tags: &[&str]) -> Gauge {
        self.store.gauge(namespace, name, tags)
    }

    /// See [`Client::distribution`].
    #[must_use]
    pub fn distribution(&self, namespace: &str, name: &str, tags: &[&str]) -> Distribution {
        self.store.distribution(namespace, name, tags)
    }
}
