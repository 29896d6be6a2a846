//! What end-to-end tests share: a fake intake and the decoders it uses.

pub mod decode;
pub mod intake;
pub mod program;
