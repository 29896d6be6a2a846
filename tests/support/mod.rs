//! What end-to-end tests share: a fake intake, the decoders it uses, and what may stand before it.

pub mod decode;
pub mod front;
pub mod intake;
pub mod log;
mod messages;
pub mod program;
pub mod python;
