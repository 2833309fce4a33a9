//! Bad input, one by one: each is refused in words that say who, what and what to do, and nothing
//! is lost by it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod budget;
mod certificates;
mod configuration;
mod disk;
mod enrolment;
mod load;
mod protocol;
mod storage;
mod tables;
