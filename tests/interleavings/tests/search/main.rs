//! The search: each scenario is run again and again, with the scheduler choosing at every lock, atomic and start of a thread
//! who goes on. Half of the runs choose at random; the other half keep to priorities that change at few places, which finds
//! what needs a certain thread to be slow (PCT). A failure prints the schedule that replays it.

mod links;
mod threads;

use esf_interleavings::scenarios::{handlers, handoffs};
use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler},
};

/// Changes of priority in one run.
const DEPTH: usize = 3;

/// Runs `scenario` in `schedules` orders, or in as many as `ESF_SCHEDULES` says.
fn search(schedules: usize, scenario: fn()) {
    let said = std::env::var("ESF_SCHEDULES").ok().and_then(|said| said.parse().ok());
    let each = said.unwrap_or(schedules).div_ceil(2);
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    Runner::new(RandomScheduler::new(each), config.clone()).run(scenario);
    Runner::new(PctScheduler::new(DEPTH, each), config).run(scenario);
}

macro_rules! searches {
    ($schedules:literal: $($module:ident::$name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            search($schedules, $module::$name);
        })*
    };
}

searches! { 2_000:
    handoffs::whoever_waits_for_a_condition_is_woken,
    handoffs::a_worker_does_all_the_work_there_is,
    handoffs::what_is_told_arrives_once,
    handlers::messages_of_three_links_share_one_place,
    handlers::one_source_is_handled_in_order_whoever_pumps,
    handlers::queries_wait_for_places,
    handlers::whole_blobs_wait_for_a_thread,
    handlers::a_stream_is_read_to_its_end,
}

searches! { 1_000:
    links::messages_cross,
    links::a_resume_gets_what_the_old_link_lost,
    links::of_two_takeovers_one_stays,
    links::a_resume_meets_the_end_of_its_window,
    links::a_login_meets_a_shutdown,
    links::a_login_meets_the_end_of_its_credential,
    links::the_server_hears_what_became_of_what_it_sent,
}

searches! { 300:
    threads::a_session_on_threads_ends,
    threads::a_client_and_a_server_that_are_dropped_at_once_end,
}
