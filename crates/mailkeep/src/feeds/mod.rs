//! Feeds: the built-in sources, bringing them here, importing them.

pub mod deb;
pub mod import;
pub mod mirror;
mod plan;
pub mod progress;
mod read;
mod signed;
pub mod sources;
pub mod update;
