//! Tools that every task uses: places, child programs, digests, messages. They know no task.

pub mod command;
pub mod digest;
pub mod interrupt;
pub mod repo;
pub mod ui;
