//! Feeds: the built-in sources, bringing them here, importing them.

pub mod deb;
pub mod import;
pub mod mirror;
pub mod sources;
