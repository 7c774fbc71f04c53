use super::*;

/// Does something when it is told that there is room.
struct Guest<F> {
    waits: AtomicBool,
    told: F,
}

impl<F: Fn() + Send + Sync> Visitor for Guest<F> {
    fn handle_room(self: Arc<Self>) {
        (self.told)();
    }

    fn waits(&self, _: Kind) -> &AtomicBool {
        &self.waits
    }
}

fn guest<F: Fn() + Send + Sync>(told: F) -> Arc<Guest<F>> {
    Arc::new(Guest { waits: AtomicBool::new(false), told })
}

#[test]
fn a_place_that_the_first_in_line_has_no_use_for_is_offered_to_the_next() {
    let gate = Gate::new(Kind::Blobs, 1);
    let told = Arc::new(AtomicBool::new(false));
    let noted = told.clone();
    let (idle, waiting) = (guest(|| {}), guest(move || noted.store(true, Ordering::Relaxed)));
    let place = gate.try_enter().expect("a place");
    assert!(gate.enter(&idle).is_none());
    assert!(gate.enter(&waiting).is_none());
    drop(place);
    assert!(told.load(Ordering::Relaxed));
}

#[test]
fn nobody_is_told_of_a_place_that_the_first_in_line_has_taken() {
    let gate = Gate::new(Kind::Messages, 1);
    let taken = Arc::new(Mutex::new(None));
    let (entering, kept) = (gate.clone(), taken.clone());
    let first = guest(move || *kept.lock().unwrap() = entering.try_enter());
    let second = guest(|| panic!("there is no room"));
    let place = gate.try_enter().expect("a place");
    assert!(gate.enter(&first).is_none());
    assert!(gate.enter(&second).is_none());
    drop(place);
    assert!(taken.lock().unwrap().is_some());
    assert!(gate.try_enter().is_none());
    gate.lock().waiting.clear();
}
