//! In: a metric line. Out: the context it belongs to. Promise: known bytes resolve without
//! allocation. Refusal: it never looks at values.

mod tags;

pub use tags::Tags;
