use super::*;

#[test]
fn only_what_stands_between_the_marks_is_replaced() {
    let text = format!("before\n{BEGIN}old\n{END}\nafter\n");
    assert_eq!(replaced(&text, "new\n"), Some(format!("before\n{BEGIN}new\n{END}\nafter\n")));
    assert_eq!(replaced(&format!("before\n{BEGIN}cut off"), "new\n"), None);
    assert_eq!(replaced("nothing", "new\n"), None);
}
