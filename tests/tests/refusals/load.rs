//! Whoever can reach the port, and a member that does not stop: connections that say nothing or say it
//! byte by byte, noise, floods of frames. The job goes on, and the aggregator stays small.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tributary_tests::session::RawSession;
use tributary_tests::{Federation, Node};
use tributary_wire::session::{FromNode, Secagg};

const AGENCIES: [&str; 5] = ["north", "east", "south", "west", "isle"];

/// More than the aggregator has places for handshakes.
const STRANGERS: usize = 200;

/// Handshakes that may be under way from one address.
const PLACES: usize = 64;

/// The beginning of a TLS record with a ClientHello of 512 bytes.
const HELLO: [u8; 9] = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc];

#[test]
fn strangers_that_say_nothing_or_say_it_slowly_hold_nobody_up_and_are_closed() {
    let mut federation = Federation::enrolled(&AGENCIES);
    let address = federation.aggregator.address();
    let mut strangers: Vec<TcpStream> = (0..STRANGERS)
        .map(|i| {
            let mut stream = TcpStream::connect(address).unwrap();
            if i % 2 == 1 {
                let _ = stream.write_all(&HELLO[..1 + i % HELLO.len()]);
            }
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream
        })
        .collect();
    // Beyond so many of one address they are not even listened to: the rest of the places is free for
    // others. Half a handshake later these are gone, too.
    let closed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (i, stream) in strangers.iter_mut().enumerate() {
                // An alert that it took too long may come before the end.
                let mut rest = Vec::new();
                match stream.read_to_end(&mut rest) {
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
                    Err(e) => panic!("stranger {i} is still there: {e}"),
                }
            }
            closed.store(true, Ordering::Relaxed);
        });
        // The agencies come from the same address, which has no place left for now: they try again.
        federation.serve_nodes();
        let job = federation.aggregator.submit(&federation.job(20));
        federation.aggregator.wait_until_done(&job);
    });
    assert!(closed.load(Ordering::Relaxed));
    let log = federation.aggregator.process().log();
    assert!(log.contains(&format!("{PLACES} handshakes from there already")), "{log}");
    assert!(log.matches("connection refused").count() < STRANGERS, "the log grows with every one");
}

#[test]
fn noise_on_the_port_disturbs_nobody() {
    let federation = Federation::start(&AGENCIES);
    let address = federation.aggregator.address();
    let job = federation.aggregator.submit(&federation.job(40));
    federation.aggregator.wait_for_round(&job, 2);
    // Any bytes, the same in every run: no TLS, broken TLS, HTTP without TLS.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for i in 0..300 {
        let mut bytes: Vec<u8> = (0..next() % 2048).map(|_| next() as u8).collect();
        match i % 3 {
            0 => {}
            1 => bytes.splice(0..0, HELLO).for_each(drop),
            _ => bytes.splice(0..0, *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").for_each(drop),
        }
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(&bytes);
    }
    federation.aggregator.wait_until_done(&job);
    assert_eq!(federation.evidence(&job).rounds.len(), 41);
}

#[test]
fn a_member_that_does_not_stop_sending_takes_nothing_from_the_others() {
    let mut federation = Federation::start(&AGENCIES);
    let flood = Node::new("flood", federation.root());
    flood.enrol(&federation.aggregator);
    let url = federation.aggregator.url();
    let job = federation.aggregator.submit(&federation.job(40));
    federation.aggregator.wait_for_round(&job, 2);
    let before = federation.aggregator.process().resident_kib();
    let stop = AtomicBool::new(false);
    let mut sent = 0_u64;
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let mut sent = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                // Frames of a job that it is not in, and signs of life; a session that is closed for it
                // is opened again.
                let session = RawSession::welcomed(&url, flood.dir());
                let frame = FromNode::Secagg(Secagg { job: [7; 32], frame: vec![1; 65536].into() });
                while !stop.load(Ordering::Relaxed)
                    && session.send(frame.clone())
                    && session.send(FromNode::Heartbeat)
                {
                    sent += 2;
                }
            }
            sent
        });
        federation.aggregator.wait_until_done(&job);
        stop.store(true, Ordering::Relaxed);
        sent = flooding.join().unwrap();
    });
    assert!(sent > 100, "that was no flood: {sent} frames");
    assert_eq!(federation.evidence(&job).rounds.len(), 41);
    let after = federation.aggregator.process().resident_kib();
    assert!(after < before + 200 * 1024, "it grew from {before} to {after} KiB ({sent} frames)");
}
