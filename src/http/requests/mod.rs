//! The HTTP server for requests with bodies, many on one connection: `axum` routes on one thread of its
//! own, everything bounded.
//!
//! In: listening sockets and a [`Router`](axum::Router). Out: answers. Promise: a slow client holds up
//! no other one; a head has at most 16 KiB and 100 fields, a request its time, an idle connection its
//! own; a connection past the maximum is answered 503 and closed, and none is sent away for it; a panic
//! is answered 500 and costs its connection. Refusal: no TLS; it knows no route and counts only what
//! never becomes a request.

mod connection;
mod refusals;
mod server;
mod session;

pub use refusals::{HeadRefusal, Refusals};
pub use server::{RequestLimits, RequestServer, StreamListener};
pub use session::{BodyError, RequestBody, Session};
