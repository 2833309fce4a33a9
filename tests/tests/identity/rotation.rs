//! Another certificate authority while a job runs: nobody has to be telephoned.

use tributary_tests::{Node, SOON};
use tributary_transport::NodeCredentials;

use crate::help::{federation, look_often, person, try_connect, wait_for};

#[test]
fn the_authority_is_replaced_while_a_federation_works() {
    let agencies = ["north", "east", "south"];
    let mut federation = federation(&agencies);
    federation.serve_nodes();
    let root = federation.root().to_owned();
    let ada = person(&federation.aggregator, &root, "researcher", "ada");
    let old = NodeCredentials::load(federation.nodes[0].dir()).unwrap();
    let old_token = federation.aggregator.token("late");
    let job = federation.aggregator.submit(&federation.job(250));
    federation.aggregator.wait_for_round(&job, 1);

    federation.aggregator.call(&["ca", "retire"]).refused(&["ca rotate"]);
    federation.aggregator.call(&["ca", "rotate"]).ok();
    federation.aggregator.call(&["ca", "rotate"]).refused(&["already", "ca retire"]);
    federation.aggregator.process().wait_for_log("certificates taken over", SOON);
    // Tokens from before are still good, and whoever comes now gets to know both.
    let west = Node::new("west", &root);
    west.enrol(&federation.aggregator);
    look_often(&west);
    let both = NodeCredentials::load(west.dir()).unwrap();
    assert_eq!(both.authorities().unwrap().len(), 2);
    // That node is not running, so it has not said what it trusts.
    federation.aggregator.call(&["ca", "retire"]).refused(&["not ready", "west", "ca status"]);
    federation.aggregator.call(&["node", "revoke", "west"]).ok();

    let status = || federation.aggregator.call(&["ca", "status"]).ok();
    wait_for("every agency is ready", || status().contains("every agency is ready"));
    assert!(status().contains("researcher/ada"), "people are named, too: {}", status());
    // The person's next command takes the new authority over.
    crate::help::elsewhere(&ada, &["job", "list"]).ok();
    crate::help::elsewhere(&ada, &["job", "list"]).ok();
    assert!(!status().contains("researcher/ada"), "{}", status());

    federation.aggregator.call(&["ca", "retire"]).ok();
    wait_for("the old certificate is refused", || {
        try_connect(&federation.aggregator, &old).is_some()
    });
    federation.aggregator.wait_until_done(&job);
    // Everybody works on under the new one alone: also from a new start.
    crate::help::elsewhere(&ada, &["job", "list"]).ok();
    assert_eq!(federation.nodes[0].terminate(), Some(0));
    federation.nodes[0].serve();
    federation.nodes[0].wait_for_session();
    let job = federation.aggregator.submit(&federation.job(2));
    federation.aggregator.wait_until_done(&job);
    let late = Node::new("late", &root);
    late.try_enrol(&federation.aggregator.url(), &old_token).refused(&["authority"]);
    late.enrol(&federation.aggregator);
    assert_eq!(NodeCredentials::load(late.dir()).unwrap().authorities().unwrap().len(), 1);
}
