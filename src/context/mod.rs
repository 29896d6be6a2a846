//! In: the raw key of a metric line. Out: the context it belongs to, or the reason to drop it.
//! Promise: known bytes resolve with one hash, one probe and one comparison, without allocation;
//! every rule is applied once, on first sight; memory is bounded. Refusal: it never looks at
//! values, rates or timestamps.

mod alias;
mod enriched;
mod entry;
mod filter;
mod free_ids;
pub mod heavy_hitters;
mod identity;
mod ids;
mod key;
mod key_memory;
mod key_pages;
mod limits;
mod mapper;
mod namespace;
mod origin;
mod part_rules;
mod prefetch;
mod rules;
mod scope;
mod table;
mod tag_use;
mod tags;
mod template;
mod utf8;

pub use alias::Alias;
pub use enriched::Enriched;
pub use entry::{Birth, Decision, Entry};
pub use filter::{NameFilter, TagFilters, TagRule};
pub(crate) use free_ids::{FreeIds, give_back};
pub use identity::{Context, ContextParts, Kind};
pub(crate) use ids::IdTable;
pub use key::RawKey;
pub use limits::{ContextLimits, DropReason};
pub use mapper::{Mapped, Mapper, MapperProblem, ProfileSettings};
pub use namespace::{EXEMPT_PREFIXES, Namespace};
pub use origin::{Claims, OriginRules};
pub use part_rules::PartRules;
pub(crate) use prefetch::prefetch;
pub use rules::{Rewritten, Rules};
pub use scope::{Scope, ScopeRules};
pub use table::{CLIENT_TELEMETRY, Contexts, FirstSightCounts};
pub(crate) use tag_use::TagUse;
pub use tags::Tags;
pub(crate) use utf8::{utf8, utf8_bytes};
