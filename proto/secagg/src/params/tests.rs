//! The complete graph's examples, the design's table, the shipped values, and
//! the refusal of everything weaker.

use proptest::prelude::*;

use super::sparse::{Convention, smallest};
use super::*;

fn of(n: u16, gamma: f64, delta: f64, floor: u16) -> Result<Thresholds, ParameterError> {
    Thresholds::solve(n, gamma, delta, floor)
}

#[test]
fn examples_of_the_design() {
    for (n, gamma, corrupt, quorum) in
        [(5, 0.2, 1, 4), (10, 0.2, 2, 7), (100, 0.2, 20, 61), (10, 0.0, 0, 6), (3, 0.3, 1, 3)]
    {
        let thresholds = of(n, gamma, 0.5, 0).unwrap();
        assert_eq!((thresholds.corrupt, thresholds.quorum), (corrupt, quorum), "n={n}");
        assert_eq!(thresholds.shamir_t, quorum);
        assert_eq!(thresholds.degree, n - 1);
        assert_eq!(Ok(thresholds), Thresholds::complete_graph(n, gamma, 0.5, 0));
    }
}

#[test]
fn survivor_floor_is_the_largest_of_three() {
    assert_eq!(of(5, 0.2, 0.2, 4).unwrap().u_min, 4);
    assert_eq!(of(5, 0.2, 0.2, 5).unwrap().u_min, 5);
    assert_eq!(of(10, 0.2, 0.3, 5).unwrap().u_min, 7);
    assert_eq!(of(10, 0.2, 0.1, 5).unwrap().u_min, 9);
    assert_eq!(of(100, 0.2, 0.1, 5).unwrap().u_min, 90);
    assert_eq!(of(10, 0.2, 0.3, 5).unwrap().tolerated_dropouts(10), 3);
    assert_eq!(of(10, 0.2, 0.3, 5).unwrap().tolerated_dropouts(6), 0);
    assert_eq!(of(200, 0.2, 0.1, 5).unwrap().u_min, 180);
    assert_eq!(of(200, 0.2, 0.1, 195).unwrap().u_min, 195);
    assert_eq!(of(200, 0.33, 0.1, 5).unwrap().tolerated_dropouts(200), 20);
}

#[test]
fn nonsense_is_refused() {
    assert!(of(4, 0.0, 0.2, 5).is_err());
    assert!(of(1, 0.0, 0.2, 0).is_err());
    assert!(of(0, 0.0, 0.2, 0).is_err());
    assert!(Thresholds::complete_graph(129, 0.0, 0.2, 0).is_err());
    assert!(Thresholds::sparse_graph(128, 0.0, 0.2, 0).is_err());
    assert!(of(2000, 0.0, 0.2, 0).is_ok());
    assert!(of(2001, 0.0, 0.2, 0).is_err());
    assert!(of(u16::MAX, 0.5, 0.2, 0).is_err());
    assert!(of(60_000, 0.1, 0.2, 65_000).is_err());
    assert!(of(200, 0.1, 0.2, 65_000).is_err());
    assert!(of(10, f64::NAN, 0.2, 0).is_err());
    assert!(of(10, 1.0, 0.2, 0).is_err());
    assert!(of(200, 0.1, -0.1, 0).is_err());
    assert!(of(3, 0.6, 0.5, 0).is_err(), "one honest node's vector would be the sum");
    assert!(of(200, 0.995, 0.0, 0).is_err());
}

#[test]
fn weakened_thresholds_are_refused() {
    let good = of(10, 0.2, 0.3, 5).unwrap();
    assert!(good.check().is_ok());
    assert!(Thresholds { quorum: 6, ..good }.check().is_err());
    assert!(Thresholds { shamir_t: 6, ..good }.check().is_err());
    assert!(Thresholds { u_min: 6, ..good }.check().is_err());
    assert!(Thresholds { u_min: 11, ..good }.check().is_err());
    assert!(Thresholds { corrupt: 4, ..good }.check().is_err());
    for degree in 0..=20 {
        assert_eq!(Thresholds { degree, ..good }.check().is_ok(), degree == 9, "{degree}");
    }
}

#[test]
fn weakened_sparse_thresholds_are_refused() {
    let good = of(200, 0.2, 0.1, 5).unwrap();
    let Thresholds { n, corrupt, quorum, shamir_t, u_min, degree } = good;
    assert_eq!(good.check(), Ok(()));
    for weak in [
        Thresholds { quorum: quorum - 1, ..good },
        Thresholds { shamir_t: shamir_t - 1, ..good },
        Thresholds { shamir_t: degree + 1, ..good },
        Thresholds { u_min: quorum - 1, ..good },
        Thresholds { u_min: 201, ..good },
        Thresholds { corrupt: corrupt + 10, ..good },
        Thresholds { corrupt: u16::MAX, ..good },
        Thresholds { n: n + 10, ..good },
        Thresholds { n: 2001, quorum: 1500, u_min: 1900, ..good },
    ] {
        assert!(weak.check().is_err(), "{weak:?}");
    }
    for degree in [0, 1, 109, 111, 112, 198, 199, 200, 256, u16::MAX] {
        assert!(Thresholds { degree, ..good }.check().is_err(), "{degree}");
    }
    // Fewer neighbours under the same threshold weaken nobody, more shares neither.
    assert_eq!(Thresholds { degree: 108, ..good }.check(), Ok(()));
    assert_eq!(Thresholds { shamir_t: degree, u_min: u_min + 1, ..good }.check(), Ok(()));
}

const CELLS: [(f64, f64); 6] =
    [(0.05, 0.05), (0.1, 0.05), (0.1, 0.1), (0.2, 0.05), (0.2, 0.1), (0.33, 0.05)];

/// (k, `shamir_t`) of the design: `floor(gamma N)` corrupt, 41 bits, and a
/// dealer that holds a share of its own.
#[test]
fn the_table_of_the_design_is_reproduced() {
    const DESIGN: Convention = Convention { security_bits: 41, own_shares: 1 };
    let table = [
        (200, [(42, 33), (56, 47), (78, 60), (74, 65), (104, 85), (102, 93)]),
        (500, [(64, 50), (82, 66), (116, 87), (114, 96), (162, 128), (164, 143)]),
        (1000, [(74, 57), (90, 72), (134, 100), (132, 110), (200, 156), (198, 171)]),
    ];
    for (n, row) in table {
        for ((gamma, delta), cell) in CELLS.into_iter().zip(row) {
            let floor = |fraction: f64| (fraction * f64::from(n) + 1e-9).floor() as u16;
            let solved = smallest(n, floor(gamma), floor(delta), DESIGN);
            assert_eq!(solved, Some(cell), "n={n} gamma={gamma} delta={delta}");
        }
    }
}

/// (k, `shamir_t`) that jobs get, computed independently with exact integers.
#[test]
fn shipped_values() {
    let table = [
        (130, [(30, 24), (42, 36), (56, 43), (62, 56), (80, 67), (86, 80)]),
        (200, [(44, 34), (60, 50), (82, 63), (82, 72), (110, 90), (110, 100)]),
        (500, [(70, 54), (88, 71), (124, 93), (126, 106), (176, 139), (180, 157)]),
        (1000, [(80, 62), (100, 80), (146, 109), (144, 120), (212, 166), (218, 188)]),
        (2000, [(86, 66), (112, 89), (162, 120), (162, 134), (244, 190), (246, 211)]),
    ];
    for (n, row) in table {
        for ((gamma, delta), (degree, shamir_t)) in CELLS.into_iter().zip(row) {
            let thresholds = of(n, gamma, delta, 5).unwrap();
            assert_eq!((thresholds.degree, thresholds.shamir_t), (degree, shamir_t), "n={n}");
            assert_eq!(thresholds.check(), Ok(()));
            let weak = Thresholds { shamir_t: shamir_t - 1, ..thresholds };
            assert!(weak.check().is_err(), "n={n} gamma={gamma} delta={delta}");
        }
    }
}

#[test]
fn half_the_sum_is_the_third_term() {
    for sum in 0u16..600 {
        assert_eq!(f64::from(sum / 2), ((f64::from(sum) - 1.25) / 2.0).ceil(), "{sum}");
    }
}

#[test]
fn operators_are_told_what_to_change() {
    let sentence = |result: Result<Thresholds, ParameterError>| result.unwrap_err().to_string();
    let too_much = sentence(of(1000, 0.33, 0.3, 5));
    assert!(too_much.contains("330 corrupt") && too_much.contains("300 may be missing"));
    assert!(too_much.contains("lower the dropout fraction"), "{too_much}");
    let floor = sentence(of(4, 0.0, 0.2, 5));
    assert!(floor.contains("enrol more nodes, or lower the survivor floor"), "{floor}");
    let good = of(200, 0.2, 0.1, 5).unwrap();
    let weak = Thresholds { shamir_t: 50, ..good }.check().unwrap_err().to_string();
    assert!(weak.starts_with("shamir_t is 50, it must be at least 90: "), "{weak}");
    let odd = Thresholds { degree: 111, ..good }.check().unwrap_err().to_string();
    assert!(odd.contains("must be even and 2 to 198"), "{odd}");
}

#[test]
fn every_number_enters_the_roster_hash() {
    let good = of(200, 0.2, 0.1, 5).unwrap();
    let Thresholds { n, corrupt, quorum, shamir_t, u_min, degree } = good;
    for other in [
        Thresholds { n: n + 1, ..good },
        Thresholds { corrupt: corrupt + 1, ..good },
        Thresholds { quorum: quorum + 1, ..good },
        Thresholds { shamir_t: shamir_t + 1, ..good },
        Thresholds { u_min: u_min + 1, ..good },
        Thresholds { degree: degree + 2, ..good },
    ] {
        assert_ne!(other.to_bytes(), good.to_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn two_quorums_share_an_honest_node(n in 2u16..=300, gamma in 0.0f64..0.5, delta in 0.0f64..0.9) {
        if let Ok(thresholds) = of(n, gamma, delta, 0) {
            prop_assert!(2 * thresholds.quorum > n + thresholds.corrupt);
            prop_assert!(thresholds.u_min >= thresholds.quorum);
            prop_assert!(f64::from(thresholds.corrupt) + 1e-6 >= gamma * f64::from(n));
        }
    }

    /// Whatever a manifest says, `check` answers.
    #[test]
    fn any_numbers_are_judged(
        n: u16, corrupt: u16, quorum: u16, shamir_t: u16, u_min: u16, degree in 0u16..300,
    ) {
        let any = Thresholds { n, corrupt, quorum, shamir_t, u_min, degree };
        let near = Thresholds { n: n % 2001, corrupt: corrupt % 700, u_min: n % 2001, ..any };
        for thresholds in [any, near, Thresholds { quorum: near.u_min, ..near }] {
            if thresholds.check().is_ok() {
                prop_assert!(thresholds.shamir_t <= thresholds.n);
                prop_assert!(thresholds.corrupt + 2 <= thresholds.u_min);
            }
        }
    }
}
