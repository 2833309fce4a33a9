//! What a job *is*, byte for byte: the specification a researcher writes, the manifest every party
//! hashes and signs, the plan that follows from it, the model's layout and state, and the
//! deterministic server step that each node recomputes for itself.
//!
//! Nothing here knows sockets, clocks, files or databases.

pub mod card;
pub mod evaluation;
pub mod history;
pub mod layout;
pub mod manifest;
pub mod plan;
pub mod reference;
mod scaffold;
pub mod schedule;
pub mod server_rule;
pub mod spec;
pub mod state;

pub use history::Evaluations;
pub use layout::ParameterLayout;
pub use manifest::{JobHash, Manifest, RosterEntry};
pub use plan::{Operation, OperationPlan, Plan, PlanError};
pub use schedule::Schedule;
pub use spec::JobSpec;
pub use state::{ModelState, Normalisation};
pub use tributary_ledger::canonical_json;
