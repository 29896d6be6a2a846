//! Where data goes, decided from what was set and what it hints at.

use super::load::Loaded;
use super::problem::{Class, Problem};
use super::types::OutputKind;

/// The outputs to start, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// Each once, in the order they were written.
    pub list: Vec<OutputKind>,
    /// True when nobody asked for the console: there is no key, and nothing hints at a deployment.
    pub implied: bool,
}

impl Outputs {
    /// Chooses: what `output` says, else `datadog` with a key, else the console.
    ///
    /// # Errors
    /// The Datadog output without an API key, asked for or hinted at (a configuration file,
    /// `DD_SITE`, `DD_DD_URL`, an empty `DD_API_KEY`): a server that silently sends nothing would
    /// be found out too late.
    pub fn choose(loaded: &Loaded) -> Result<Outputs, Problem> {
        let has_key = loaded.config.api_key.is_some();
        let mut list: Vec<OutputKind> = Vec::new();
        for output in &loaded.config.output {
            if !list.contains(output) {
                list.push(output.clone());
            }
        }
        let missing = |because: &str| Problem {
            class: Class::Value,
            origin: loaded.origin("api_key"),
            key: "api_key".to_owned(),
            message: format!(
                "missing, but {because}; set DD_API_KEY, api_key_file or api_key, or \
                 WHIPPET_OUTPUT=console to print here"
            ),
        };
        if list.contains(&OutputKind::Datadog) && !has_key {
            return Err(missing("the datadog output needs one"));
        }
        if !list.is_empty() {
            return Ok(Outputs { list, implied: false });
        }
        if has_key {
            return Ok(Outputs { list: vec![OutputKind::Datadog], implied: false });
        }
        match loaded.hints.as_slice() {
            [] => Ok(Outputs { list: vec![OutputKind::Console], implied: true }),
            hints => Err(missing(&format!("{} suggests a real deployment", hints.join(" and ")))),
        }
    }
}
