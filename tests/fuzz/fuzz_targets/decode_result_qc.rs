//! libFuzzer's entry to the target of this name; what it checks stands in
//! `proto/secagg/tests/fuzz_targets/`.
#![no_main]

#[path = "../../../proto/secagg/tests/fuzz_targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::decode_result_qc(bytes));
