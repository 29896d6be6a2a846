//! What the wire means, as a table, and proof that the fast reader agrees with a slow obvious one.

mod aggregates;
mod corpus;
mod identity;
mod numbers;
mod posted;
mod posting;
mod print;
mod properties;
mod reference;
mod seeds;
mod twin;
