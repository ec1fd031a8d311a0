//! An answer as text: one module for each format. Every text from a host or a feed passes
//! `mailkeep_model::text::printable` before it is shown.

pub mod csaf_vex;
pub mod csv;
pub mod escaped;
pub mod group;
pub mod html;
pub mod json;
pub mod openvex;
pub mod purl;
pub mod table;
pub mod vex;
