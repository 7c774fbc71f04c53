use super::*;

const TREE: &str = "\
esf-smol v0.1.0 (/somewhere)
esf-driver v0.1.0 (/somewhere)
tokio-like v1.0.0
smol v2.0.2
esf-driver v0.1.0 (/somewhere) (*)
";

#[test]
fn a_banned_crate_is_found_by_its_whole_name() {
    assert_eq!(intruders(TREE, &["tokio", "smol"]), ["smol"]);
    assert_eq!(names(TREE).len(), 4, "each once");
}

#[test]
fn the_tree_of_a_package_has_what_it_depends_on() -> Result<(), Problem> {
    let tree = dependencies(&Workspace::load()?, "esf-tokio")?;
    assert_eq!(intruders(&tree, &["tokio", "tungstenite", "smol"]), ["tokio", "tungstenite"]);
    Ok(())
}
