//! Policies: what parses, and what each bound refuses.

use super::*;

#[test]
fn the_example_parses_and_unknown_fields_do_not() {
    assert!(Policy::parse(EXAMPLE).is_ok());
    let extra = format!("{EXAMPLE}\nmax_epsilon = 3\n");
    assert!(Policy::parse(&extra).unwrap_err().contains("max_epsilon"));
    assert!(Policy::parse("").is_err());
    let silent = EXAMPLE.replace("max_parameters = 100_000_000\n", "");
    assert_ne!(silent, EXAMPLE);
    assert_eq!(Policy::parse(&silent).unwrap().max_parameters, 100_000_000);
}

#[test]
fn the_agency_says_which_column_tells_persons_apart() {
    let text = include_str!("../../../../deploy/demo/flights.toml");
    let mut spec = tributary_job::JobSpec::from_toml(text).unwrap();
    spec.privacy.mode = PrivacyMode::Person;
    spec.data.person_column = Some("row_id".into());
    spec.validate().unwrap();
    let key = |i: usize| hex::encode([i as u8 + 1; 32]);
    let roster = spec.agencies.iter().enumerate().map(|(i, agency)| {
        let (agency, signing_key) = (agency.clone(), key(i));
        tributary_job::manifest::RosterEntry { agency, signing_key, declared_records: 10_000 }
    });
    let manifest = Manifest {
        version: tributary_job::manifest::MANIFEST_VERSION,
        roster: roster.collect(),
        aggregator_key: key(100),
        nonce: String::new(),
        spec,
    };
    let plan = Plan::derive(&manifest).unwrap();
    let mut policy = Policy::parse(EXAMPLE).unwrap();
    policy.modes.push(PrivacyMode::Person);
    policy.max_epsilon_per_job = 100.0;
    let refused = |policy: &Policy| policy.check(&manifest, &plan).err().map(|r| r.text);
    for column in [None, Some("passenger")] {
        policy.person_columns = column.map(|c| ("flights".into(), c.into())).into_iter().collect();
        assert!(refused(&policy).unwrap().contains("another column"), "{column:?}");
    }
    policy.person_columns = [("flights".into(), "row_id".into())].into();
    assert_eq!(refused(&policy), None);
}

#[test]
fn no_file_means_no_work_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = Policy::load(&dir.path().join("policy.toml")).unwrap_err();
    assert!(error.to_string().contains("policy example"), "{error}");
}

#[test]
fn what_is_left_out_is_the_cautious_choice() {
    let end = EXAMPLE.find("\n[approval]").unwrap();
    let bare = EXAMPLE[..end].replace("roster = \"pinned\"\n", "");
    let policy = Policy::parse(&bare).unwrap();
    assert_eq!(policy.roster, RosterTrust::Pinned);
    assert!(policy.approval.required && policy.approval.auto.is_none());
    assert!(policy.approval.stewards.is_empty(), "nobody is named, so nobody can approve");
    assert_eq!((policy.max_memory_mib, policy.max_disk_mib), (8192, 4096));
    for line in ["operations", "max_epsilon_per_year", "datasets", "modes", "max_rounds"] {
        let without: String =
            EXAMPLE.lines().filter(|l| !l.starts_with(line)).map(|l| format!("{l}\n")).collect();
        let error = Policy::parse(&without).unwrap_err();
        assert!(error.contains(line), "{error}");
    }
}

#[test]
fn mistakes_in_the_new_lines_are_named() {
    for (from, to, words) in [
        ("max_epsilon_per_year = 4.0", "max_epsilon_per_year = nan", "max_epsilon_per_year"),
        ("roster = \"pinned\"", "roster = \"everybody\"", "everybody"),
        ("[\"flights\"] }", "[\"fligths\"] }", "fligths"),
        ("max_days = 90", "max_days = 0", "max_days"),
        ("max_days = 90", "max_days = 90\n[approval.auto]\nmodes = [\"record\"]", "datasets"),
        ("required = true", "required = true\nrequire = true", "require"),
        ("operations = [\"statistics\", ", "operations = [\"gossip\", ", "gossip"),
    ] {
        let changed = EXAMPLE.replace(from, to);
        assert_ne!(changed, EXAMPLE, "{from}");
        let error = Policy::parse(&changed).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn each_bound_of_operations_and_resources_refuses() {
    let federation = crate::fixtures::Federation::new(crate::fixtures::JOB);
    let (manifest, plan) = (&federation.manifest, &federation.plan);
    assert_eq!(crate::fixtures::policy().check(manifest, plan), Ok(()));
    type Change = fn(&mut Policy);
    let narrow: [(Change, &str); 4] = [
        (|p| p.operations = vec![Operation::Training], "operation statistics"),
        (|p| p.operations = vec![Operation::Statistics], "operation training"),
        (|p| p.max_memory_mib = 256, "MiB of memory, at most 256"),
        (|p| p.max_disk_mib = 0, "MiB of disk, at most 0"),
    ];
    for (narrow, words) in narrow {
        let mut policy = crate::fixtures::policy();
        narrow(&mut policy);
        let refusal = policy.check(manifest, plan).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::PolicyOperation);
        assert!(refusal.text.contains(words), "{refusal}");
    }
}
