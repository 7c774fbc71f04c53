use std::io::{BufReader, Read as _};

use super::*;

fn line(input: &[u8]) -> Result<Vec<u8>, String> {
    let password = first_line(&mut BufReader::new(input));
    password.map(|password| password.0).map_err(|exit| exit.reason().unwrap_or_default().to_owned())
}

#[test]
fn it_is_the_first_line_without_its_end() {
    for input in ["secret", "secret\n", "secret\r\n", "secret\nmore\n"] {
        assert_eq!(line(input.as_bytes()), Ok(b"secret".to_vec()), "{input:?}");
    }
    assert_eq!(line(b" with spaces \n"), Ok(b" with spaces ".to_vec()));
    assert_eq!(line("日本\n".as_bytes()), Ok("日本".as_bytes().to_vec()));
    let mut input = BufReader::new(&b"secret\nhello\n"[..]);
    first_line(&mut input).expect("a password");
    let mut rest = String::new();
    input.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "hello\n");
}

#[test]
fn what_cannot_be_a_password_is_told_with_the_reason() {
    let longest = "x".repeat(1024);
    assert_eq!(line(longest.as_bytes()), Ok(longest.clone().into_bytes()));
    assert_eq!(line(format!("{longest}\r\n").as_bytes()), Ok(longest.clone().into_bytes()));
    let long = [&b"x".repeat(1025)[..], &b"x".repeat(1 << 20)];
    for (input, reason) in
        [(&b""[..], "empty"), (b"\n", "empty"), (b"\xff\n", "not UTF-8"), (long[0], "longer"), (long[1], "longer")]
    {
        let told = line(input).expect_err("no password");
        assert!(told.contains(reason) && told.contains("1 to 1024 bytes of UTF-8"), "{told}");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_told_so() {
    use std::os::unix::ffi::OsStringExt as _;
    let told = of_variable(OsString::from_vec(vec![0x73, 0xff])).expect_err("no password");
    assert!(told.reason().is_some_and(|reason| reason.contains("not UTF-8")), "{told:?}");
    assert_eq!(of_variable("secret".into()).map(|password| password.0), Ok(b"secret".to_vec()));
}

#[test]
fn it_is_never_printed() {
    let password = Password::new(b"secret".to_vec()).expect("a password");
    assert!(!format!("{password:?} {:?}", password.secret()).contains("secret"));
}
