//! Known answers of protocol version 3, for whoever writes another implementation.
//!
//! `tests/vectors/secagg-v3.json` at the root of the repository is made here and compared on every
//! run; `TRIBUTARY_REGENERATE=1` writes it. Whatever is private in the crate is seen one level up:
//! the key schedule, the sealing and the sharing in rounds with fixed chains and fixed randomness,
//! whose frames stand there byte for byte. `tests/interop/check_vectors.py` computes all of it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

#[path = "vectors/frames.rs"]
mod frames;
#[path = "vectors/rounds.rs"]
mod rounds;

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::Path;

use tributary_secagg::mask::{self, MaskKey, Sign};
use tributary_secagg::messages::{EpochHellos, coin_commitment, joint_coin, transcript};
use tributary_secagg::{
    CHUNK_LANES, Digest, EpochStart, Graph, Identity, LaneBits, Lanes, NodeIndex, NodeSet, Roster,
    RoundView, Thresholds, VectorKind, context, hash, shamir, vector_root,
};

use frames::{hello, hello_fields};

const N: u16 = 5;

// JSON, as far as it is needed.

fn text(value: impl Display) -> String {
    format!("\"{value}\"")
}

fn hx(bytes: impl AsRef<[u8]>) -> String {
    text(hex::encode(bytes))
}

fn number(value: impl Display) -> String {
    value.to_string()
}

fn list(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn set(nodes: &NodeSet) -> String {
    list(nodes.iter().map(number))
}

// Fixed values that differ from field to field.

fn fill<const B: usize>(name: &str) -> [u8; B] {
    let seed = hash(name, &[]).0;
    core::array::from_fn(|i| seed[i % 32] ^ (i / 32) as u8)
}

fn digest(name: &str) -> Digest {
    hash(name, &[])
}

fn identity(number: u16) -> Identity {
    Identity::from_seed(&hash("test identity", &[&number.to_le_bytes()]).0).unwrap()
}

fn nodes(of: u16, indices: &[u16]) -> NodeSet {
    NodeSet::of(of, indices.iter().copied().map(NodeIndex))
}

/// Nodes 0 .. n and the aggregator 65535 of the test identities.
fn roster(thresholds: Thresholds) -> Roster {
    let members = (0..thresholds.n).map(|node| identity(node).verifying_key()).collect();
    let aggregator = identity(u16::MAX).verifying_key();
    Roster::new(digest("job"), members, aggregator, thresholds).unwrap()
}

fn six(t: &Thresholds) -> String {
    let fields = [
        ("n", t.n),
        ("corrupt", t.corrupt),
        ("quorum", t.quorum),
        ("shamir_t", t.shamir_t),
        ("u_min", t.u_min),
        ("degree", t.degree),
    ];
    object(fields.map(|(name, value)| (name, number(value))))
}

/// Words of all sorts, more than a lane's bits.
fn word(i: usize) -> u32 {
    (i as u32).wrapping_mul(2_654_435_761) ^ 0x5bd1_e995
}

fn lanes(bits: LaneBits, length: usize) -> Lanes {
    if bits.is_narrow() {
        (0..length).map(|i| word(i) as u16).collect::<Vec<_>>().into()
    } else {
        (0..length).map(word).collect::<Vec<_>>().into()
    }
}

fn words(lanes: &Lanes) -> String {
    match lanes {
        Lanes::Narrow(words) => list(words.iter().map(number)),
        Lanes::Wide(words) => list(words.iter().map(number)),
    }
}

// The sections of the file.

fn hashes() -> Vec<String> {
    let cases: [(&str, &[&[u8]]); 5] = [
        ("", &[]),
        ("label", &[]),
        ("label", &[b""]),
        ("label", &[b"x", b"yz"]),
        ("label", &[b"xyz"]),
    ];
    let entry = |(label, parts): (&str, &[&[u8]])| {
        let digest = hash(label, parts);
        let parts = list(parts.iter().map(hx));
        object([("label", text(label)), ("parts", parts), ("digest", text(digest))])
    };
    cases.map(entry).to_vec()
}

fn packings() -> Vec<String> {
    let entry = |bits: u8| {
        let width = LaneBits::new(bits).unwrap();
        let lanes = lanes(width, 37);
        let packed = hx(lanes.pack(width));
        object([("bits", number(bits)), ("lanes", words(&lanes)), ("packed", packed)])
    };
    (1..=32).map(entry).collect()
}

fn roots() -> Vec<String> {
    let kinds = [(VectorKind::Masked, 1), (VectorKind::Sum, 2)];
    let shapes = [(32, 5), (26, 31), (16, 32), (11, 1), (7, CHUNK_LANES + 3), (32, CHUNK_LANES)];
    let mut entries = Vec::new();
    for (at, (bits, length)) in shapes.into_iter().enumerate() {
        let (kind, code) = kinds[at % 2];
        let width = LaneBits::new(bits).unwrap();
        let root = vector_root(kind, &digest("context"), width, &lanes(width, length));
        entries.push(object([
            ("kind", number(code)),
            ("context", text(digest("context"))),
            ("bits", number(bits)),
            ("length", number(length)),
            ("root", text(root)),
        ]));
    }
    entries
}

fn masks() -> Vec<String> {
    let key: [u8; 32] = core::array::from_fn(|i| i as u8);
    let mut entries = Vec::new();
    for first in [0, 1, 7, 255, 256, 1 << 18, (1 << 34) - 2, u64::MAX] {
        for (sign, plus) in [(Sign::Plus, true), (Sign::Minus, false)] {
            let (mut narrow, mut wide) = ([1u16; 9], [1u32; 9]);
            let key_of_mask = MaskKey::copied(&key);
            mask::apply_from(&key_of_mask, sign, first, &mut narrow);
            mask::apply_from(&key_of_mask, sign, first, &mut wide);
            let both = [(2, list(narrow.iter().map(number))), (4, list(wide.iter().map(number)))];
            for (bytes, lanes) in both {
                entries.push(object([
                    ("key", hx(key)),
                    ("word_bytes", number(bytes)),
                    ("plus", number(plus)),
                    ("first", number(first)),
                    ("ones_become", lanes),
                ]));
            }
        }
    }
    entries
}

/// Bytes that follow from a name and a number: in order, from blocks
/// `hash("test draws", [name, counter])`, the counter with 8 bytes.
struct Draws {
    name: Vec<u8>,
    counter: u64,
    left: VecDeque<u8>,
}

impl Draws {
    fn new(name: &[u8]) -> Self {
        Self { name: name.to_vec(), counter: 0, left: VecDeque::new() }
    }
}

impl rand_core::RngCore for Draws {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        while self.left.len() < out.len() {
            self.left.extend(hash("test draws", &[&self.name, &self.counter.to_le_bytes()]).0);
            self.counter += 1;
        }
        let drawn = self.left.drain(..out.len()).collect::<Vec<_>>();
        out.copy_from_slice(&drawn);
    }
}

fn sharings() -> Vec<String> {
    let cases: [(usize, &[u8]); 4] =
        [(1, &[1, 2]), (2, &[1, 2, 3]), (3, &[5, 1, 200, 255]), (4, &[7, 8, 9, 10, 128])];
    let entry = |(threshold, slots): (usize, &[u8])| {
        let secret = fill::<32>("secret");
        let shares = shamir::deal(&secret, threshold, slots, &mut Draws::new(b"shamir")).unwrap();
        let mut coefficients = vec![[0; 32]; threshold - 1];
        let mut draws = Draws::new(b"shamir");
        coefficients.iter_mut().for_each(|one| rand_core::RngCore::fill_bytes(&mut draws, one));
        object([
            ("secret", hx(secret)),
            ("threshold", number(threshold)),
            ("slots", list(slots.iter().map(number))),
            ("coefficients", list(coefficients.iter().map(hx))),
            ("shares", list(shares.iter().map(|share| hx(**share)))),
        ])
    };
    cases.map(entry).to_vec()
}

/// The ring is given as it runs from node 0 on; only that follows from the public functions.
fn graphs() -> Vec<String> {
    let base = Thresholds { n: 0, corrupt: 0, quorum: 0, shamir_t: 0, u_min: 0, degree: 0 };
    let entry = |(n, degree, name): (u16, u16, &str)| {
        let thresholds = Thresholds { n, degree, ..base };
        let graph = Graph::of(&thresholds, &digest(name));
        let next = |node: &NodeIndex| {
            let behind = |other: &NodeIndex| {
                graph.slot(*node, *other).is_some_and(|slot| u16::from(slot) == degree / 2 + 1)
            };
            graph.peers(*node).iter().find(behind)
        };
        let ring: Vec<_> =
            std::iter::successors(Some(NodeIndex(0)), next).take(usize::from(n)).collect();
        let slots = |node: NodeIndex| {
            let slot = |holder| graph.slot(node, holder).map(number).unwrap_or_default();
            list(graph.holders(node).iter().map(|holder| list([number(holder), slot(holder)])))
        };
        object([
            ("n", number(n)),
            ("degree", number(degree)),
            ("coin", text(digest(name))),
            ("ring", list(ring.iter().map(number))),
            ("slots_of_0", slots(NodeIndex(0))),
            ("slots_of_last", slots(NodeIndex(n - 1))),
        ])
    };
    [(20, 12, "coin"), (20, 12, "other"), (131, 64, "coin"), (2000, 254, "coin"), (7, 2, "coin")]
        .map(entry)
        .to_vec()
}

fn thresholds() -> Vec<String> {
    let mut cases = vec![
        (2, "0", "0", 0),
        (3, "0.3", "0.5", 0),
        (3, "0.6", "0.5", 0),
        (5, "0.2", "0.2", 4),
        (5, "0.2", "0.2", 6),
        (10, "0.2", "0.3", 5),
        (100, "0.29", "0.07", 5),
        (128, "0.33", "0.1", 0),
        (2000, "0", "0.2", 0),
        (1, "0", "0", 0),
        (200, "0.2", "0.1", 195),
        (200, "0.995", "0", 0),
    ];
    for n in [129, 200, 500, 1000, 2000] {
        for (gamma, delta) in [("0.05", "0.05"), ("0.1", "0.1"), ("0.2", "0.1"), ("0.33", "0.05")] {
            cases.push((n, gamma, delta, 5));
        }
    }
    let entry = |(n, gamma, delta, floor): (u16, &str, &str, u16)| {
        let solved = Thresholds::solve(n, gamma.parse().unwrap(), delta.parse().unwrap(), floor);
        object([
            ("n", number(n)),
            ("gamma", text(gamma)),
            ("delta", text(delta)),
            ("floor", number(floor)),
            ("thresholds", solved.map_or("null".to_owned(), |solved| six(&solved))),
        ])
    };
    cases.into_iter().map(entry).collect()
}

/// Thresholds as they are, and each number moved by one or two.
fn checks() -> Vec<String> {
    let complete = Thresholds::solve(10, 0.2, 0.3, 5).unwrap();
    let sparse = Thresholds::solve(200, 0.2, 0.1, 5).unwrap();
    let small = Thresholds { n: 20, corrupt: 0, quorum: 11, shamir_t: 8, u_min: 11, degree: 12 };
    let mut entries = Vec::new();
    for good in [complete, sparse, small] {
        for by in [-2i16, -1, 1, 2] {
            let moved = |value: u16| value.saturating_add_signed(by);
            for changed in [
                good,
                Thresholds { n: moved(good.n), ..good },
                Thresholds { corrupt: moved(good.corrupt), ..good },
                Thresholds { quorum: moved(good.quorum), ..good },
                Thresholds { shamir_t: moved(good.shamir_t), ..good },
                Thresholds { u_min: moved(good.u_min), ..good },
                Thresholds { degree: moved(good.degree), ..good },
            ] {
                let holds = number(changed.check().is_ok());
                entries.push(object([("thresholds", six(&changed)), ("holds", holds)]));
            }
        }
    }
    entries
}

fn view(bits: u8, length: u32) -> RoundView {
    RoundView {
        round: 17,
        attempt: 1,
        operation: 2,
        vector_len: length,
        lane_bits: LaneBits::new(bits).unwrap(),
        state_hash: digest("state"),
        params_hash: digest("params"),
        previous: digest("previous"),
    }
}

fn view_fields(view: &RoundView) -> Vec<(&'static str, String)> {
    vec![
        ("round", number(view.round)),
        ("attempt", number(view.attempt)),
        ("operation", number(view.operation)),
        ("vector_len", number(view.vector_len)),
        ("lane_bits", number(view.lane_bits.bits())),
        ("state_hash", text(view.state_hash)),
        ("params_hash", text(view.params_hash)),
        ("previous", text(view.previous)),
    ]
}

/// Everything that is hashed in an epoch and at the start of a round, for one roster.
fn contexts() -> Vec<String> {
    let roster = roster(Thresholds::complete_graph(N, 0.2, 0.2, 4).unwrap());
    let start = EpochStart::new(&roster, &identity(u16::MAX), 3, 1, nodes(N, &[1]));
    let coins: Vec<_> = [0, 2, 3, 4].map(|node| (NodeIndex(node), fill("coin"))).to_vec();
    let hellos = coins.iter().map(|(node, _)| hello(node.0, &start.context)).collect();
    let roll = EpochHellos { context: start.context, hellos }.roll(&roster);
    let joint = joint_coin(&roll, &coins);
    let transcript = transcript(&roll, &joint);
    let (view, cohort) = (view(26, 1000), nodes(N, &[0, 2, 3, 4]));
    let hellos = [0, 2, 3, 4].map(|node| hello_fields(&hello(node, &start.context)));
    vec![object([
        ("job", text(roster.job)),
        ("members", list(roster.members.iter().map(text))),
        ("aggregator", text(roster.aggregator)),
        ("thresholds", six(&roster.thresholds)),
        ("roster", text(roster.digest())),
        ("epoch", number(3)),
        ("restart", number(1)),
        ("excluded", set(&start.excluded)),
        ("epoch_context", text(start.context)),
        ("coin", hx(fill::<32>("coin"))),
        (
            "coin_commitment_of_2",
            text(coin_commitment(&start.context, NodeIndex(2), &fill("coin"))),
        ),
        ("hellos", list(hellos)),
        ("roll", text(roll)),
        ("joint_coin_of_the_roll", text(joint)),
        ("transcript", text(transcript)),
        ("view", object(view_fields(&view))),
        ("cohort", set(&cohort)),
        ("context", text(context(&roster, &transcript, &view, &cohort))),
    ])]
}

fn sections() -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("hash", hashes()),
        ("packing", packings()),
        ("vector_root", roots()),
        ("mask", masks()),
        ("shamir", sharings()),
        ("graph", graphs()),
        ("thresholds", thresholds()),
        ("check", checks()),
        ("context", contexts()),
        ("frame", frames::frames()),
        ("statement", frames::statements()),
        ("round", rounds::rounds()),
        ("evidence", rounds::evidence()),
    ]
}

#[test]
fn known_answers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/secagg-v3.json");
    let section =
        |(name, entries): (&str, Vec<String>)| format!("\"{name}\": [\n{}\n]", entries.join(",\n"));
    let sections: Vec<String> = sections().into_iter().map(section).collect();
    let found = format!(
        "{{\n\"protocol\": {},\n{}\n}}\n",
        tributary_secagg::PROTOCOL_VERSION,
        sections.join(",\n")
    );
    if std::env::var_os("TRIBUTARY_REGENERATE").is_some_and(|is| is == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
        return;
    }
    let known = std::fs::read_to_string(&path).expect("TRIBUTARY_REGENERATE=1 makes the vectors");
    for (line, (known, found)) in known.lines().zip(found.lines()).enumerate() {
        let start = |text: &str| text.chars().take(200).collect::<String>();
        assert!(known == found, "line {}: {} was {}", line + 1, start(found), start(known));
    }
    assert_eq!(known.lines().count(), found.lines().count());
}
