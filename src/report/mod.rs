//! What people and programs read. Prints, and never decides.

pub mod bench;
pub mod bug_report;
pub mod builds;
pub mod check;
pub mod explain;
pub mod fit;
pub mod html;
pub mod inspect;
pub mod install;
pub mod launch;
pub mod models;
pub mod printer;
pub mod progress;
pub mod pull;
pub mod repository;
pub mod setup;
pub mod text;
