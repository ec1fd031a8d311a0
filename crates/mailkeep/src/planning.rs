//! What surrounds a plan: what it is made from, where it is kept, who has approved it, whom it is told
//! to.
//!
//! Plans are made, checked, compared and drawn by the `plan` room; here is what that room may not do:
//! read the store, ask `ssh-keygen`, send mail.

pub mod approval;
pub mod basis;
pub mod calendar;
pub mod drift;
pub mod kept;
pub mod mitigation;
pub mod notices;
pub mod post;
pub mod recipe;
pub mod whereabouts;
pub mod words;
