//! The distribution sketch of the Datadog Agent. Knows nothing of whippet.

/// A sketch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {}
