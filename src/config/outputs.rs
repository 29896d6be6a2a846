//! Chooses the outputs from the configuration.

use super::load::Loaded;
use super::problem::{Class, Problem};
use super::types::OutputKind;

/// The outputs to start, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// Without duplicates, in the order written.
    pub list: Vec<OutputKind>,
    /// True when the console is the default: no output and no key are configured, and nothing
    /// suggests a real deployment.
    pub implied: bool,
}

impl Outputs {
    /// True with `none` or `dry-run` and without `datadog`: nothing may be sent to the vendor.
    #[must_use]
    pub fn withholds(&self) -> bool {
        let withholding =
            |output: &OutputKind| matches!(output, OutputKind::None | OutputKind::DryRun { .. });
        self.list.iter().any(withholding) && !self.list.contains(&OutputKind::Datadog)
    }

    /// Chooses `output` if set, else `datadog` with a key, else the console.
    ///
    /// # Errors
    /// The Datadog output is configured, or suggested by a configuration file, `DD_SITE`,
    /// `DD_DD_URL` or an empty `DD_API_KEY`, but there is no API key: a server that silently sends
    /// nothing would be noticed too late.
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
