//! What an agency's node computes on its own records: reading a table, gradients clipped per
//! record or person, prediction, metrics, and the released model file.
//!
//! Knows the job's types and nothing of networks, protocols, noise or budgets. The tensor library
//! is behind [`Trainer`]; [`conformance::suite`] says what any implementation must hold to.

pub mod assets;
pub mod batch;
pub mod clipping;
pub mod concordance;
pub mod conformance;
pub mod cox;
pub mod dataset;
pub mod evaluation;
mod float_error;
pub mod local;
pub mod mapping;
pub mod metrics;
pub mod mlp;
pub mod persons;
pub mod quality;
pub mod reference;
pub mod report;
pub mod softmax;
pub mod source;
pub mod trainer;
pub mod units;

pub use tributary_model::{card, description, export, hugging_face};

mod codes;
mod columns;
mod holdout;
mod nearest;
mod structure;
mod table;
mod text;
mod tokens;
mod tolerant;

pub use assets::Assets;
pub use batch::{Batch, MICROBATCH, Rows};
pub use cox::CoxTrainer;
pub use dataset::{DataError, Dataset};
pub use description::ModelDescription;
pub use evaluation::{Evaluation, evaluate};
pub use float_error::{float_error, unit_float_error};
pub use persons::Persons;
pub use reference::ReferenceTrainer;
pub use structure::{check_structure, check_table};
pub use tokens::PADDING;
pub use tolerant::Skipped;
pub use trainer::{ClippedSum, EventLosses, TokenLosses, Trainer, TrainerError};
