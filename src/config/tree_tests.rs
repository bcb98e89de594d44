//! Tests of the merged tree: lines, overlay rules, and how a key reads in a message.

use super::*;
use proptest::prelude::*;

fn parse(text: &str, name: &str) -> Tree {
    Tree::parse(text, Path::new(name)).expect("test text is TOML")
}

fn merged(layers: &[&str]) -> Tree {
    let mut tree = Tree::empty();
    for (n, text) in layers.iter().enumerate() {
        tree.overlay(parse(text, &format!("/f{}", n + 1)));
    }
    tree
}

#[track_caller]
fn check_origin(tree: &Tree, path: &KeyPath, expected: &str) {
    assert_eq!(tree.origin_of(path).to_string(), expected, "{path}");
}

#[track_caller]
fn check_merge(layers: &[&str], expected: &str) {
    assert_eq!(merged(layers).to_value(), parse(expected, "/expected").to_value(), "{layers:?}");
}

#[test]
fn every_node_knows_its_line() {
    let tree = parse(
        "# one\n[a]\nb = 1\nlist = [\n  \"x\",\n  \"y\",\n]\n\n[[m]]\np = 1\n\n[[m]]\np = 2\n[a.c]\nd = { e = 1 }\r\nf.g = 2\n",
        "/f",
    );
    let m = KeyPath::of(&["m"]);
    check_origin(&tree, &KeyPath::of(&["a"]), "/f:2");
    check_origin(&tree, &KeyPath::of(&["a", "b"]), "/f:3");
    check_origin(&tree, &KeyPath::of(&["a", "list"]), "/f:4");
    check_origin(&tree, &KeyPath::of(&["a", "list"]).index(0), "/f:5");
    check_origin(&tree, &KeyPath::of(&["a", "list"]).index(1), "/f:6");
    check_origin(&tree, &m.index(0), "/f:9");
    check_origin(&tree, &m.index(0).key("p"), "/f:10");
    check_origin(&tree, &m.index(1), "/f:12");
    check_origin(&tree, &m.index(1).key("p"), "/f:13");
    check_origin(&tree, &KeyPath::of(&["a", "c"]), "/f:14");
    check_origin(&tree, &KeyPath::of(&["a", "c", "d", "e"]), "/f:15");
    check_origin(&tree, &KeyPath::of(&["a", "c", "f", "g"]), "/f:16");
}

#[test]
fn a_key_that_is_not_there_has_the_origin_of_its_table() {
    let tree = parse("[a]\nb = 1\n", "/f");
    check_origin(&tree, &KeyPath::of(&["a", "nothing", "deep"]), "/f:1");
}

#[test]
fn the_later_layer_wins_leaf_by_leaf() {
    check_merge(&["[a]\nx = 1\ny = 1", "[a]\ny = 2"], "[a]\nx = 1\ny = 2");
    check_merge(&["d = { runs = 1, age = 1 }", "d.runs = 2"], "d = { runs = 2, age = 1 }");
    check_merge(&["a = 1", "a = { b = 2 }"], "a = { b = 2 }");
    check_merge(&["a = { b = 2 }", "a = 1"], "a = 1");
    let tree = merged(&["[a]\nx = 1\ny = 1", "\n\n[a]\ny = 2"]);
    check_origin(&tree, &KeyPath::of(&["a", "x"]), "/f1:2");
    check_origin(&tree, &KeyPath::of(&["a", "y"]), "/f2:4");
}

#[test]
fn plain_lists_are_replaced_and_lists_of_tables_grow() {
    check_merge(&["l = [1, 2]", "l = [3]"], "l = [3]");
    check_merge(&["l = [1, 2]", "l = []"], "l = []");
    check_merge(&["[[m]]\np = 1", "[[m]]\np = 2"], "[[m]]\np = 1\n[[m]]\np = 2");
    check_merge(&["m = []", "[[m]]\np = 2"], "[[m]]\np = 2");
    check_merge(&["[[m]]\np = 1", "m = []"], "m = []");
    check_merge(&["[[m]]\np = 1", "m = [1]"], "m = [1]");
}

#[test]
fn keys_read_as_they_stand_in_the_file() {
    let mount = KeyPath::of(&["mount"]).index(3);
    assert_eq!(KeyPath::of(&["mounts"]).to_string(), "mounts");
    assert_eq!(KeyPath::of(&["mounts", "deadline"]).to_string(), "[mounts] deadline");
    assert_eq!(
        KeyPath::of(&["mounts", "confirm", "dead", "runs"]).to_string(),
        "[mounts.confirm.dead] runs"
    );
    assert_eq!(
        KeyPath::of(&["mounts", "repair_under"]).index(1).to_string(),
        "[mounts] repair_under[1]"
    );
    assert_eq!(mount.key("wait").to_string(), "[[mount]] wait");
    assert_eq!(mount.key("remount").index(0).to_string(), "[[mount]] remount[0]");
    assert_eq!(mount.to_string(), "mount[3]");
    assert_eq!(KeyPath::of(&["a", "b\nc"]).to_string().lines().count(), 1);
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let told = |text| Tree::parse(text, Path::new("/f")).expect_err(text).to_string();
    assert!(told("a = 1\nb = \n").starts_with("/f:2: not TOML: "), "{}", told("a = 1\nb = \n"));
    assert!(
        told("[a]\nx = 1\nx = 2\n").starts_with("/f:3: not TOML: "),
        "{}",
        told("[a]\nx = 1\nx = 2\n")
    );
    assert!(told("a = 99999999999999999999").contains("does not fit in 64 bits"));
    assert_eq!(told("a = 1\nb = \n").lines().count(), 1);
}

#[test]
fn numbers_of_every_base_are_read() {
    let tree =
        parse("a = 0x1F\nb = -1_000\nc = 0o17\nd = 0b11\ne = +7\nf = 1_0.5e1\ng = inf", "/f");
    assert_eq!(
        tree.to_value(),
        toml::from_str::<Value>("a = 31\nb = -1000\nc = 15\nd = 3\ne = 7\nf = 105.0\ng = inf")
            .expect("test")
    );
}

#[test]
fn removing_takes_one_node_and_says_whether_it_was_there() {
    let mut tree = parse("[[m]]\np = 1\n[[m]]\np = 2\n", "/f");
    assert!(tree.remove(&KeyPath::of(&["m"]).index(0)));
    assert!(!tree.remove(&KeyPath::of(&["m"]).index(1)));
    assert!(!tree.remove(&KeyPath::of(&["nothing", "here"])));
    assert!(!tree.remove(&KeyPath::default()));
    assert_eq!(tree.to_value(), parse("[[m]]\np = 2", "/f").to_value());
}

/// Small random tables over few keys, so that layers meet often.
fn any_table() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Boolean),
        "[a-z]{0,3}".prop_map(Value::String),
        prop::collection::vec(any::<i64>().prop_map(Value::Integer), 0..3).prop_map(Value::Array),
    ];
    let inner = leaf.prop_recursive(3, 24, 4, |inner| {
        prop::collection::btree_map("[a-c]", inner, 0..4)
            .prop_map(|keys| Value::Table(keys.into_iter().collect()))
    });
    prop::collection::btree_map("[a-c]", inner, 0..4)
        .prop_map(|keys| Value::Table(keys.into_iter().collect()))
}

fn flag(n: usize) -> Origin {
    Origin::Flag(format!("--{n}"))
}

proptest! {
    #[test]
    fn later_wins(layers in prop::collection::vec(any_table(), 1..5)) {
        let mut tree = Tree::empty();
        for (n, layer) in layers.iter().enumerate() {
            tree.overlay(Tree::from_value(layer.clone(), &flag(n)));
        }
        // Every leaf of the result is what the last layer that touches its way says, and names that layer.
        for (path, leaf) in tree.leaves() {
            let last = layers.iter().enumerate().rev().find_map(|(n, layer)| {
                Tree::from_value(layer.clone(), &flag(n)).get(&path).map(|it| (n, it.to_value()))
            });
            prop_assert_eq!(last, Some((leaf_layer(leaf), leaf.to_value())));
        }
        // Every leaf of the last layer is in the result as it is.
        if let Some(last) = layers.last() {
            for (path, leaf) in Tree::from_value(last.clone(), &Origin::Default).leaves() {
                prop_assert_eq!(tree.get(&path).map(Tree::to_value), Some(leaf.to_value()));
            }
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Tree::parse(&text, Path::new("/f"));
    }
}

fn leaf_layer(leaf: &Tree) -> usize {
    match &leaf.origin {
        Origin::Flag(name) => name.trim_start_matches('-').parse().expect("a number"),
        other => panic!("unexpected origin {other}"),
    }
}
