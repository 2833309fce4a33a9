//! The whole federation in one process, and the checks and pictures that follow a run.
//!
//! The same cores that the daemons drive (coordinator, engine, bridge) run here without a network,
//! a clock or a database; what they leave behind is the evidence that the daemons' export writes
//! too, and everything after that ([`finish`], [`replay`], [`report`]) works on evidence alone and
//! cannot tell the two apart.

pub mod audit;
pub mod baselines;
pub mod calculator;
pub mod card;
pub mod charges;
pub mod data;
pub mod error;
pub mod evidence;
pub mod federation;
pub mod finish;
pub mod inventory;
pub mod language;
pub mod plan_report;
pub mod record;
pub mod replay;
pub mod report;
pub mod scenario;
pub mod secagg;
pub mod statement;
pub mod summary;
pub mod synthetic;
pub mod synthetic_text;
pub mod trainers;
pub mod utility;
pub mod verify;

pub use error::SimulationError;
