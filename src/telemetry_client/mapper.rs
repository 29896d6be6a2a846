//! From what the sources tell to what is sent: the first message, signs of life, batches, the last one.

use std::time::Duration;

use super::interval::Limiter;
use super::payload::{Dependency, InstallSignature, Integration, Payload, Setting};

/// How one flush is made of what the sources tell. Each flush returns the mapper of the next.
#[derive(Debug)]
pub(super) enum Mapper {
    /// Signs of life, then one batch.
    Steady(Steady),
    /// The first flush: before all others, and outside their batch, one `app-started`.
    Started(Option<InstallSignature>, Box<Mapper>),
    /// The last flush: `app-closing` joins the others before they are made into a batch.
    Closing(Box<Mapper>),
}

impl Mapper {
    /// What is sent for `payloads`, and the mapper of the next flush.
    pub fn map(
        self,
        mut payloads: Vec<Payload>,
        now: Duration,
        settings: &dyn Fn() -> Vec<Setting>,
    ) -> (Vec<Payload>, Mapper) {
        match self {
            Mapper::Steady(mut steady) => {
                steady.add_sign_of_life(&mut payloads, now, settings);
                (batch(payloads), Mapper::Steady(steady))
            }
            Mapper::Started(install_signature, next) => {
                let (started, others) = started(payloads, install_signature);
                let (mut sent, next) = next.map(others, now, settings);
                sent.insert(0, started);
                (sent, next)
            }
            Mapper::Closing(next) => {
                payloads.push(Payload::AppClosing);
                next.map(payloads, now, settings)
            }
        }
    }
}

/// Takes settings and products into the first message.
fn started(
    payloads: Vec<Payload>,
    install_signature: Option<InstallSignature>,
) -> (Payload, Vec<Payload>) {
    let (mut configuration, mut products) = (Vec::new(), Default::default());
    let mut others = Vec::new();
    for payload in payloads {
        match payload {
            Payload::AppClientConfigurationChange { configuration: all } => configuration = all,
            Payload::AppProductChange { products: all } => products = all,
            other => others.push(other),
        }
    }
    (Payload::AppStarted { configuration, products, install_signature }, others)
}

/// Several messages are one request.
fn batch(payloads: Vec<Payload>) -> Vec<Payload> {
    if payloads.len() > 1 { vec![Payload::MessageBatch(payloads)] } else { payloads }
}

/// Adds signs of life, at most one per flush.
#[derive(Debug)]
pub(super) struct Steady {
    heartbeat: Limiter,
    extended_heartbeat: Limiter,
    /// The first ones that were sent; others are not repeated.
    dependencies: Vec<Dependency>,
    /// All of them.
    integrations: Vec<Integration>,
}

/// Integrations that an extended heartbeat repeats.
const INTEGRATIONS_MAX: usize = 5_000;

impl Steady {
    /// Signs of life are due from `now` on: none before an interval has passed.
    pub fn new(heartbeat: Duration, extended_heartbeat: Duration, now: Duration) -> Self {
        Steady {
            heartbeat: Limiter::new(heartbeat, now),
            extended_heartbeat: Limiter::new(extended_heartbeat, now),
            dependencies: Vec::new(),
            integrations: Vec::new(),
        }
    }

    /// The extended one stands for the plain one.
    fn add_sign_of_life(
        &mut self,
        payloads: &mut Vec<Payload>,
        now: Duration,
        settings: &dyn Fn() -> Vec<Setting>,
    ) {
        payloads.iter().for_each(|payload| self.remember(payload));
        if self.extended_heartbeat.allows(now) {
            payloads.push(Payload::AppExtendedHeartbeat {
                configuration: settings(),
                dependencies: self.dependencies.clone(),
                integrations: self.integrations.clone(),
            });
        } else if self.heartbeat.allows(now) {
            payloads.push(Payload::AppHeartbeat);
        }
    }

    fn remember(&mut self, payload: &Payload) {
        match payload {
            Payload::AppDependenciesLoaded { dependencies } if self.dependencies.is_empty() => {
                self.dependencies.clone_from(dependencies);
            }
            Payload::AppIntegrationsChange { integrations } => {
                let room = INTEGRATIONS_MAX - self.integrations.len();
                self.integrations.extend(integrations.iter().take(room).cloned());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::telemetry_client::payload::Origin;

    const HEARTBEAT: u64 = 60;
    const EXTENDED: u64 = 24 * 3600;

    fn steady() -> Mapper {
        let [heartbeat, extended] = [HEARTBEAT, EXTENDED].map(Duration::from_secs);
        Mapper::Steady(Steady::new(heartbeat, extended, Duration::ZERO))
    }

    fn started() -> Mapper {
        Mapper::Started(None, Box::new(steady()))
    }

    fn configuration() -> Payload {
        let configuration = vec![Setting::new("a", "1", Origin::Code)];
        Payload::AppClientConfigurationChange { configuration }
    }

    fn products() -> Payload {
        Payload::AppProductChange { products: BTreeMap::new() }
    }

    fn dependencies(name: &str) -> Payload {
        let dependency = Dependency { name: name.into(), version: "1".into() };
        Payload::AppDependenciesLoaded { dependencies: vec![dependency] }
    }

    fn integrations(name: &str) -> Payload {
        Payload::AppIntegrationsChange { integrations: vec![Integration::new(name, "1")] }
    }

    fn logs() -> Payload {
        Payload::Logs { logs: vec![] }
    }

    fn types(payload: &Payload) -> String {
        match payload {
            Payload::MessageBatch(payloads) => {
                format!("[{}]", payloads.iter().map(types).collect::<Vec<_>>().join(" "))
            }
            payload => payload.request_type().to_owned(),
        }
    }

    /// Maps at `second`, and gives the types of what is sent.
    fn maps(mapper: &mut Option<Mapper>, payloads: Vec<Payload>, second: u64) -> Vec<String> {
        let settings = || vec![Setting::new("all", "1", Origin::Code)];
        let now = Duration::from_secs(second);
        let (sent, next) = mapper.take().unwrap().map(payloads, now, &settings);
        *mapper = Some(next);
        sent.iter().map(types).collect()
    }

    #[test]
    fn the_first_flush_takes_settings_and_products_out_of_the_batch() {
        let mut mapper = Some(started());
        let told = vec![configuration(), products(), dependencies("d"), integrations("i")];
        assert_eq!(
            maps(&mut mapper, told.clone(), 0),
            ["app-started", "[app-dependencies-loaded app-integrations-change]"]
        );
        assert_eq!(
            maps(&mut mapper, told, 1),
            ["[app-client-configuration-change app-product-change app-dependencies-loaded \
              app-integrations-change]"]
        );
    }

    #[test]
    fn a_first_flush_without_anything_is_an_app_started_alone() {
        let mut mapper = Some(started());
        assert_eq!(maps(&mut mapper, vec![], 0), ["app-started"]);
        assert!(maps(&mut mapper, vec![], 1).is_empty());
    }

    #[test]
    fn one_message_travels_alone_and_more_than_one_in_a_batch() {
        let mut mapper = Some(steady());
        assert!(maps(&mut mapper, vec![], 0).is_empty());
        assert_eq!(maps(&mut mapper, vec![logs()], 0), ["logs"]);
        assert_eq!(maps(&mut mapper, vec![logs(), products()], 0), ["[logs app-product-change]"]);
    }

    #[test]
    fn a_heartbeat_comes_once_per_minute_and_last() {
        let mut mapper = Some(steady());
        for (second, sent) in [
            (0, "[logs app-product-change]"),
            (59, "[logs app-product-change]"),
            (60, "[logs app-product-change app-heartbeat]"),
            (119, "[logs app-product-change]"),
            (130, "[logs app-product-change app-heartbeat]"),
            (189, "[logs app-product-change]"),
        ] {
            assert_eq!(maps(&mut mapper, vec![logs(), products()], second), [sent], "{second}");
        }
        assert_eq!(maps(&mut mapper, vec![], 190), ["app-heartbeat"]);
    }

    #[test]
    fn an_extended_heartbeat_stands_for_a_plain_one_and_repeats_what_is_known() {
        let mut mapper = Some(steady());
        maps(&mut mapper, vec![dependencies("first"), integrations("a")], 0);
        maps(&mut mapper, vec![dependencies("second"), integrations("b")], 1);
        let (sent, next) =
            mapper.take().unwrap().map(vec![], Duration::from_secs(EXTENDED), &|| {
                vec![Setting::new("all", "1", Origin::Code)]
            });
        let [Payload::AppExtendedHeartbeat { configuration, dependencies, integrations }] =
            &sent[..]
        else {
            panic!("{sent:?}")
        };
        assert_eq!(configuration[0].name, "all");
        let names: Vec<&str> = dependencies.iter().map(|one| &*one.name).collect();
        assert_eq!(names, ["first"]);
        let names: Vec<&str> = integrations.iter().map(|one| &*one.name).collect();
        assert_eq!(names, ["a", "b"]);
        // The plain one was due too, and still is.
        let mut mapper = Some(next);
        assert_eq!(maps(&mut mapper, vec![], EXTENDED + 1), ["app-heartbeat"]);
        assert_eq!(maps(&mut mapper, vec![], 2 * EXTENDED), ["app-extended-heartbeat"]);
    }

    #[test]
    fn the_end_travels_in_the_batch_of_the_last_flush() {
        let closing = |mapper| Some(Mapper::Closing(Box::new(mapper)));
        let mut mapper = closing(steady());
        assert_eq!(maps(&mut mapper, vec![logs()], 5), ["[logs app-closing]"]);
        assert_eq!(maps(&mut mapper, vec![logs()], 5), ["logs"]);
        assert_eq!(maps(&mut closing(steady()), vec![], 5), ["app-closing"]);
        assert_eq!(maps(&mut closing(steady()), vec![], 60), ["[app-closing app-heartbeat]"]);
        // A program that ends before its first flush.
        assert_eq!(
            maps(&mut closing(started()), vec![configuration(), logs()], 5),
            ["app-started", "[logs app-closing]"]
        );
    }
}
