use super::*;

#[test]
fn every_code_is_in_the_table_once() {
    let mut codes: Vec<u8> = MEANINGS.iter().map(|(code, _)| *code).collect();
    let in_order = codes.clone();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes, in_order);
    assert_eq!(codes.len(), 26);
}

#[test]
fn the_page_of_the_command_line_has_the_same_table() {
    let page = include_str!("../../../docs/CLI.md");
    for (code, meaning) in MEANINGS {
        let row = format!("| {code} | {meaning} |");
        assert!(page.contains(&row), "docs/CLI.md lacks: {row}");
    }
}

#[test]
fn every_failure_has_a_code_and_a_line() {
    for failure in Failure::ALL {
        let exit = Exit::of_failure(*failure, "bob");
        assert_eq!(exit.reason().map(|reason| reason.lines().count()), Some(1), "{failure:?}");
    }
    assert_eq!(Exit::of_failure(Failure::Offline, "bob").code(), Code::Offline);
    assert_eq!(Exit::of_failure(Failure::ConnectionLost, "bob").code(), Code::ConnectionLost);
}

#[test]
fn every_failure_of_a_blob_has_a_code_and_a_line() {
    for failure in Failure::ALL {
        let exit = Exit::of_blob(&BlobError::Failed(*failure), "bob");
        assert_eq!(exit.reason().map(|reason| reason.lines().count()), Some(1), "{failure:?}");
    }
    let code = |failure| Exit::of_blob(&BlobError::Failed(failure), "bob").code();
    assert_eq!(code(Failure::Rejected), Code::Refused);
    assert_eq!(code(Failure::QuotaFull), Code::NoRoom);
    assert_eq!(code(Failure::TooSlow), Code::TimedOut);
    assert_eq!(code(Failure::Offline), Code::Offline);
}

#[test]
fn every_close_reason_has_a_code_and_a_line() {
    for reason in CloseReason::ALL {
        let exit = Exit::closed(*reason);
        assert_eq!(exit.reason().map(|reason| reason.lines().count()), Some(1), "{reason:?}");
    }
    assert_eq!(Exit::closed(CloseReason::PushedOut).code(), Code::PushedOut);
    assert_eq!(Exit::closed(CloseReason::Kicked).code(), Code::Kicked);
    assert_eq!(Exit::closed(CloseReason::LoginFailed).code(), Code::LoginRefused);
}

#[test]
fn the_cause_of_a_refused_login_is_told() {
    let exit = Exit::refused(LoginCode::Failed, "wrong password");
    assert_eq!(exit.reason(), Some("login refused: wrong password; check --user and the password"));
}
