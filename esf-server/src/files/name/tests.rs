use super::*;

#[test]
fn an_ordinary_name_stays() {
    for name in ["report.pdf", "Übersicht 2026.tar.gz", "a", "日本.txt", "no-ending", "C3.log"] {
        assert_eq!(safe_name(name), name);
    }
}

#[test]
fn no_part_of_a_path_is_left() {
    for name in
        ["/etc/passwd", "../../passwd", "C:\\Windows\\passwd", "a/../passwd", "passwd/", "passwd/..", "./passwd"]
    {
        assert_eq!(safe_name(name), "passwd", "{name}");
    }
}

#[test]
fn a_name_that_is_none_becomes_one() {
    for name in ["", ".", "..", "/", "...", "\\..\\", "  ", "-"] {
        assert_eq!(safe_name(name), "blob", "{name:?}");
    }
}

#[test]
fn nothing_is_hidden_and_nothing_is_an_option() {
    assert_eq!(safe_name(".bashrc"), "bashrc");
    assert_eq!(safe_name("--help"), "help");
}

#[test]
fn what_steers_a_terminal_or_a_shell_is_taken_out() {
    assert_eq!(safe_name("a\x1b[2Jb\n.txt"), "a_[2Jb_.txt");
    assert_eq!(safe_name("exe\u{202e}fdp.txt"), "exe_fdp.txt");
    assert_eq!(safe_name("$(rm *)"), "_(rm _)");
    assert_eq!(safe_name("nul\0l"), "nul_l");
}

#[test]
fn a_device_is_no_file() {
    assert_eq!(safe_name("NUL"), "_NUL");
    assert_eq!(safe_name("com1.txt"), "_com1.txt");
    assert_eq!(safe_name("console.txt"), "console.txt");
}

#[test]
fn a_long_name_is_cut_before_its_ending_and_between_characters() {
    let name = safe_name(&format!("{}.pdf", "ü".repeat(300)));
    assert!(name.len() <= LONGEST && name.ends_with("ü.pdf"), "{name}");
    assert!(safe_name(&format!("x.{}", "y".repeat(300))).len() <= LONGEST);
}

#[test]
fn a_number_stands_before_the_ending() {
    assert_eq!(numbered("a.tar.gz", 0), "a.tar.gz");
    assert_eq!(numbered("report.pdf", 2), "report-2.pdf");
    assert_eq!(numbered("report", 2), "report-2");
}
