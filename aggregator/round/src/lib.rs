//! The coordinator of a job: who takes part, which round runs, what is waited for.
//!
//! IO-free: `handle(now, event) -> effects`. No socket, clock, file or random source in here; the
//! daemon and the simulator drive the same code. Effects come in order, and a driver carries out
//! each before the next: what is persisted comes before what is sent because of it.

pub mod coordinator;
pub mod event;
pub mod gathering;
pub mod progress;
pub mod record;
pub mod snapshot;

pub use coordinator::{Coordinator, CoordinatorError};
pub use event::{Capacity, Effect, Event, Now, Resume, Step, Timeouts};
pub use gathering::Gathering;
pub use progress::{JobPhase, Progress};
pub use record::RoundEntry;
pub use snapshot::Snapshot;
