//! The bytes of one of each frame. A change here breaks every deployed peer: raise
//! `PROTOCOL_VERSION` or undo it.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::fmt::Write;

use tributary_wire::session::{FromNode, ToNode};

#[test]
fn bytes_of_every_frame() {
    let mut table = String::new();
    for (name, frame) in common::node_frames() {
        let bytes = frame.clone().encode();
        assert_eq!(FromNode::decode(&bytes), Ok(frame));
        writeln!(table, "node {name}: {}", hex::encode(bytes)).unwrap();
    }
    for (name, frame) in common::server_frames() {
        let bytes = frame.clone().encode();
        assert_eq!(ToNode::decode(&bytes), Ok(frame));
        writeln!(table, "server {name}: {}", hex::encode(bytes)).unwrap();
    }
    insta::assert_snapshot!("frames_v1", table);
}
