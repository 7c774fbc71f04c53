use super::*;
use std::vec::Vec;

#[test]
fn one_source_gets_half_and_another_still_gets_in() {
    let (loud, quiet) = (SessionId(1), SessionId(2));
    let mut shares = Shares::default();
    let mut queue: Vec<(SessionId, usize)> = Vec::new();
    let mut offer = |source, queue: &mut Vec<(SessionId, usize)>| {
        let queued = queue.iter().map(|(_, bytes)| bytes).sum();
        let entries = queue.clone();
        let fits = shares.admit(source, 10, queued, 100, || entries.into_iter());
        if fits {
            queue.push((source, 10));
        }
        fits
    };
    let admitted = (0..10).filter(|_| offer(loud, &mut queue)).count();
    assert_eq!(admitted, 5, "half of 100 in steps of 10");
    assert!(offer(quiet, &mut queue));
}
