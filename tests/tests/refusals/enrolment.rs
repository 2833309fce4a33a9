//! Tokens that enrol nobody, and set-ups that must not be done twice.

use tributary_tests::{Aggregator, Node, contents};

#[test]
fn only_a_fresh_token_of_this_aggregator_enrols() {
    let root = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::init(root.path());
    aggregator.serve();
    let url = aggregator.url();
    let north = Node::new("north", root.path());
    let token = aggregator.token("north");
    north.try_enrol(&url, &token).ok();

    let second = Node::new("second", root.path());
    second.try_enrol(&url, &token).refused(&["used already", "new one"]);
    second.try_enrol(&url, &token[..token.len() - 3]).refused(&["damaged", "copy it again"]);
    second.try_enrol(&url, "hunter2").refused(&["trb1_"]);
    let expired = aggregator.call(&["enrol", "token", "--agency", "east", "--valid-hours", "0"]);
    second.try_enrol(&url, &expired.last_line()).refused(&["expired", "new one"]);

    // A token of another aggregator names another authority: the node notices before it says
    // anything, so the token is still good where it belongs.
    let other_root = tempfile::tempdir().unwrap();
    let mut other = Aggregator::init(other_root.path());
    other.serve();
    let foreign = other.token("second");
    second.try_enrol(&url, &foreign).refused(&["authority", "token is for another aggregator"]);
    second.try_enrol(&other.url(), &foreign).ok();

    // What failed before did not spoil the folder, nor the token that follows.
    let third = Node::new("third", root.path());
    third.try_enrol(&url, "hunter2").refused(&[]);
    third.enrol(&aggregator);
    let list = aggregator.call(&["node", "list"]).ok();
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains("north") && list.contains("third"), "{list}");
}

#[test]
fn setting_up_twice_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::init(root.path());
    let before = contents(aggregator.dir());
    let again = ["init", "--listen", "127.0.0.1:1"];
    aggregator.call(&again).refused(&["already", "nothing was changed"]);
    assert_eq!(contents(aggregator.dir()), before);

    aggregator.serve();
    let node = Node::new("north", root.path());
    node.enrol(&aggregator);
    let before = contents(node.dir());
    let token = aggregator.token("north");
    node.try_enrol(&aggregator.url(), &token).refused(&["enrolled already", "nothing was changed"]);
    assert_eq!(contents(node.dir()), before);
    // The token was not used up by that.
    Node::new("fresh", root.path()).try_enrol(&aggregator.url(), &token).ok();
}
