//! Figures, ratios and the written JSON, from lines as the programs print them.

use serde_json::{Value, json};

use super::*;

const OURS: &str = r#"
{"bench":"mask","kernel":"vaes-avx2","bits":16,"d":1000000,"masks":9,"ns_per_parameter_and_mask":0.17,"gb_per_s":11.9}
{"bench":"mask","kernel":"vaes-avx2","bits":32,"d":1000000,"masks":9,"ns_per_parameter_and_mask":0.34,"gb_per_s":11.9}
{"bench":"mask","kernel":"portable","bits":32,"d":10000000,"masks":9,"ns_per_parameter_and_mask":2.1,"gb_per_s":1.9}
{"bench":"mask","kernel":"vaes-avx2","bits":32,"d":10000000,"masks":9,"ns_per_parameter_and_mask":0.36,"gb_per_s":11.1}
{"bench":"node","d":1000000,"masks":9,"bits":32,"quantise_s":0.003,"mask_s":0.0035,"hash_s":0.002,"total_s":0.008}
{"bench":"node","d":10000000,"masks":9,"bits":16,"quantise_s":0.03,"mask_s":0.02,"hash_s":0.01,"total_s":0.06}
{"bench":"node","d":10000000,"masks":9,"bits":32,"quantise_s":0.03,"mask_s":0.035,"hash_s":0.02,"total_s":0.085}
{"bench":"round","nodes":10,"dim":10000000,"bits":26,"round_s":{"median":1.25,"min":1.1,"max":1.4,"n":5},"peak_rss_bytes":100000000,"model_bytes":40000000,"bytes_up_per_parameter":3.26,"bytes_down_per_parameter":4.0,"transport":"mtls-loopback","processes":11,"max_abs_error":1e-7}
{"bench":"round","nodes":100,"dim":1,"bits":30,"round_s":{"median":0.2,"min":0.1,"max":0.3,"n":5},"peak_rss_bytes":30000000,"model_bytes":4,"bytes_up_per_parameter":2000.0}
{"bench":"virtual","nodes":1000,"dim":100000,"dropout":0.05,"round_s":9.5,"exact":true,"later":"kept"}
"#;

const FLOWER: &str = r#"
{"bench":"flower_node","d":10000000,"masks":9,"quantise_s":{"median":0.3},"mask_s":{"median":0.73},"total_s":{"median":1.02}}
{"bench":"flower_node","d":20000000,"masks":9,"total_s":{"median":2.5}}
{"bench":"flower_round","nodes":10,"dim":10000000,"secagg":true,"round_s":{"median":12.5}}
{"bench":"flower_round","nodes":10,"dim":10000000,"secagg":false,"round_s":{"median":2.5}}
{"bench":"flower_round","nodes":10,"dim":1000000,"secagg":false,"round_s":{"median":0.5}}
"#;

fn machine() -> Machine {
    Machine { cpu_model: "c".into(), cores: 2, memory_bytes: 8, kernel: "k".into() }
}

fn written(ours: &str, flower: &str, peers: bool) -> Value {
    let failed = vec![Failure { cell: "50x1e7".into(), error: "no memory".into() }];
    let parse = |text| Line::parse_all(text).unwrap();
    let outcome = Outcome { ours: parse(ours), flower: parse(flower), failed };
    serde_json::to_value(Summary::new(machine(), "abc".into(), outcome, peers)).unwrap()
}

#[test]
fn our_figures() {
    let file = written(OURS, "", false);
    assert_eq!(file["version"], 1);
    assert_eq!(file["machine"]["cores"], 2);
    assert_eq!(file["commit"], "abc");
    assert_eq!(file["mask_ns_per_parameter_u16"], 0.17);
    assert_eq!(file["mask_ns_per_parameter_u32"], 0.36);
    assert_eq!(file["round_seconds"], json!({"10x1e7": 1.25, "100x1": 0.2}));
    assert_eq!(file["peak_rss_over_model"], json!({"10x1e7": 2.5}));
    assert_eq!(file["bytes_up_per_parameter"], json!({"10x1e7": 3.26}));
    assert_eq!(file["overhead_seconds_100_nodes"], 0.2);
    assert_eq!(file["virtual"]["exact"], true);
    assert_eq!(file["virtual"]["later"], "kept");
    assert_eq!(file["failed"], json!([{"cell": "50x1e7", "error": "no memory"}]));
    let lines = file["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 10);
    assert_eq!(lines[7]["transport"], "mtls-loopback");
    assert!(file.get("flower").is_none() && file.get("flower_node_ratio").is_none());
}

#[test]
fn ratios_are_flowers_time_over_ours() {
    let file = written(OURS, FLOWER, true);
    assert_eq!(file["flower_node_ratio"], 12.0);
    assert_eq!(file["flower_node_ratios"], json!({"1e7": 12.0}));
    assert_eq!(file["flower_round_ratio"], json!({"10x1e7": 10.0}));
    assert_eq!(file["flower_plain_ratio"], json!({"10x1e7": 2.0}));
    assert_eq!(file["flower"].as_array().unwrap().len(), 5);
}

#[test]
fn nothing_measured_is_still_a_file() {
    let file = written("", "", true);
    assert_eq!(file["round_seconds"], json!({}));
    assert_eq!(file["flower_round_ratio"], json!({}));
    for absent in ["mask_ns_per_parameter_u16", "virtual", "flower_node_ratio"] {
        assert!(file.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn quotients_are_numbers() {
    assert_eq!(ratio(1.0, 3.0), Some(0.333));
    assert_eq!(ratio(1.0, 0.0), None);
    assert_eq!(ratio(0.0, 0.0), None);
}
