//! People with a role, from their own machines: what each may do, and that nobody else does it.

use tributary_tests::{Evidence, Job, Node, contents};

use crate::help::{elsewhere, federation, person, try_person};

#[test]
fn a_job_from_submission_to_evidence_without_a_shell_on_the_aggregator() {
    let agencies = ["north", "east", "south"];
    let mut federation = federation(&agencies);
    federation.serve_nodes();
    let root = federation.root().to_owned();
    let aggregator = &federation.aggregator;
    let ada = person(aggregator, &root, "researcher", "ada");
    let bob = person(aggregator, &root, "researcher", "bob");
    let olga = person(aggregator, &root, "operator", "olga");
    let carl = person(aggregator, &root, "auditor", "carl");

    // The researcher submits, follows and takes the model.
    let file = root.join("job.toml");
    std::fs::write(&file, Job::new(agencies, 3).to_toml()).unwrap();
    let file = file.to_str().unwrap();
    let id = elsewhere(&ada, &["job", "submit", file]).last_line();
    let status = elsewhere(&ada, &["job", "status", &id]).ok();
    assert!(status.contains("researcher/ada"), "{status}");
    assert_eq!(aggregator.status(&id)["submitter"], "researcher/ada");
    aggregator.wait_until_done(&id);
    assert!(elsewhere(&carl, &["job", "list"]).ok().contains(&id));
    let model = root.join("model.safetensors");
    let model = model.to_str().unwrap();
    elsewhere(&ada, &["model", "export", &id, "--out", model]).ok();
    let local = root.join("local.safetensors");
    aggregator.call(&["model", "export", &id, "--out", local.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read(model).unwrap(), std::fs::read(&local).unwrap());

    // The auditor takes the evidence, byte for byte what the aggregator would export.
    let out = root.join("audited");
    elsewhere(&carl, &["job", "export", &id, "--out", out.to_str().unwrap()]).ok();
    Evidence::read(&out);
    let relative = |folder: &std::path::Path| {
        let files = contents(folder).into_iter();
        files.map(|(p, b)| (p.strip_prefix(folder).unwrap().to_owned(), b)).collect::<Vec<_>>()
    };
    assert_eq!(relative(&out), relative(&federation.export(&id)));

    // What others may not.
    let nowhere = root.join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let evidence = ["job", "export", &id, "--out", nowhere];
    elsewhere(&ada, &evidence).refused(&["FetchEvidence is for", "auditor", "researcher/ada"]);
    let fetch = ["model", "export", &id, "--out", nowhere];
    elsewhere(&carl, &fetch).refused(&["FetchModel is for", "auditor/carl"]);
    elsewhere(&carl, &["job", "submit", file]).refused(&["SubmitJob is for", "researcher"]);
    elsewhere(&ada, &["node", "revoke", "north"]).refused(&["Revoke is for an operator"]);
    let token = ["enrol", "token", "--agency", "west"];
    elsewhere(&carl, &token).refused(&["IssueToken is for an operator"]);
    // A node's certificate is no person's.
    let as_node = root.join("as-node");
    std::fs::create_dir(&as_node).unwrap();
    for name in ["key.pem", "chain.pem", "ca.pem"] {
        std::fs::copy(federation.nodes[0].dir().join(name), as_node.join(name)).unwrap();
    }
    std::fs::copy(ada.join("identity.toml"), as_node.join("identity.toml")).unwrap();
    elsewhere(&as_node, &["job", "list"]).refused(&["ListJobs is for", "north", "an agency"]);

    // A researcher ends own jobs, an operator any.
    std::fs::write(file, Job::new(["north", "east", "west"], 3).to_toml()).unwrap();
    let first = elsewhere(&ada, &["job", "submit", file]).last_line();
    let second = elsewhere(&ada, &["job", "submit", file]).last_line();
    let cancel = |who: &std::path::Path, id: &str| elsewhere(who, &["job", "cancel", id]);
    cancel(&bob, &first).refused(&["submitted by researcher/ada", "an operator"]);
    cancel(&carl, &first).refused(&["CancelJob is for"]);
    cancel(&ada, &first).ok();
    cancel(&olga, &second).ok();
    assert_eq!(aggregator.status(&second)["reason"], "cancelled by operator/olga");
    elsewhere(&ada, &["job", "status", "toy-0"]).refused(&["no job toy-0", "job list"]);
    std::fs::write(file, "agencies = [").unwrap();
    elsewhere(&ada, &["job", "submit", file]).refused(&["job.toml"]);

    // The operator lets an agency in and out.
    let token = elsewhere(&olga, &["enrol", "token", "--agency", "west"]).last_line();
    let west = Node::new("west", &root);
    west.try_enrol(&aggregator.url(), &token).ok();
    assert!(elsewhere(&ada, &["agency", "list"]).ok().contains("west"));
    elsewhere(&olga, &["node", "revoke", "west"]).ok();
    let list = elsewhere(&carl, &["agency", "list"]).ok();
    assert!(list.lines().any(|l| l.starts_with("west") && l.contains("revoked")), "{list}");
    // But makes no operator, and loses the role when it is taken.
    let role = ["role", "token", "--role", "operator", "--name", "eve"];
    elsewhere(&olga, &role).refused(&["own machine", "aggregator role token"]);
    let token = elsewhere(&olga, &["role", "token", "--role", "auditor", "--name", "eve"]);
    try_person(aggregator, &root.join("eve"), &token.last_line()).ok();
    aggregator.call(&["role", "revoke", "operator/olga"]).ok();
    crate::help::wait_for("the operator is refused", || {
        elsewhere(&olga, &["job", "list"]).code != Some(0)
    });
    elsewhere(&olga, &["job", "list"]).refused(&["revoked"]);
    let people = aggregator.call(&["role", "list"]).ok();
    assert!(people.lines().any(|l| l.contains("operator/olga") && l.contains("revoked")));
}

#[test]
fn a_token_is_for_one_kind_of_member() {
    let federation = federation(&["north"]);
    let aggregator = &federation.aggregator;
    let root = federation.root();
    let agency = aggregator.token("east");
    try_person(aggregator, &root.join("x"), &agency).refused(&["agency east", "agency-node enrol"]);
    let token = aggregator.call(&["role", "token", "--role", "auditor", "--name", "ada"]);
    let token = token.last_line();
    let node = Node::new("y", root);
    node.try_enrol(&aggregator.url(), &token).refused(&["auditor/ada", "aggregator connect"]);
    let folder = root.join("ada");
    try_person(aggregator, &folder, &token).ok();
    try_person(aggregator, &folder, &token).refused(&["identity already", "nothing was changed"]);
    try_person(aggregator, &root.join("z"), &token).refused(&["used already"]);
    aggregator
        .call(&["role", "token", "--role", "king", "--name", "ada"])
        .refused(&["operator, researcher, auditor"]);
    aggregator.call(&["role", "revoke", "north"]).refused(&["node revoke"]);
    elsewhere(&root.join("none"), &["job", "list"]).refused(&["aggregator connect"]);
}
