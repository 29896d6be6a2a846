//! The HTTP server that the admin pages stand on: `axum` routes on one thread, everything bounded.
//!
//! In: an [`Address`] and a [`Router`]. Out: answers, one request per connection. Promise: a route
//! made with [`direct`] is answered at once on the thread `http`, whatever other clients do: slow
//! clients lose their place to newer ones, and pages that take time are made with [`page`] on at
//! most [`Limits::pages_max`] threads. Refusal: no keep-alive, no TLS; on loopback no host name but
//! `localhost`, so that no web page can make a browser read it under a name of the page's choosing.
//!
//! `axum::serve` decides neither how long a head may take nor which connection gives way to a new one, so
//! `connection` drives hyper itself; the routes, methods and bodies are axum's.

mod accept;
mod address;
mod admission;
#[cfg(any(feature = "cli", test))]
mod client;
mod connection;
mod page;
pub mod requests;
mod server;
mod stream;

pub use accept::prefers_html;
pub use address::Address;
pub use admission::{Limits, Refusals};
#[cfg(any(feature = "cli", test))]
pub use client::{Connection, encoded};
pub use page::{Header, Request, Response, direct, page, read_only};
pub use server::HttpServer;

pub use axum::Router;

#[cfg(test)]
mod tests;
