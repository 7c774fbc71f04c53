//! Every scenario of tests/scenarios over real sockets, on every pair of runtimes.

mod scenario;
mod stage;

use crate::kit::{on_smol::Smol, on_threads::Threads, on_tokio::Tokio};

/// A test for each scenario. A name that is missing here is noticed below.
macro_rules! scenarios {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        macro_rules! suite {
            ($clients:expr, $servers:expr) => {
                $(
                    #[test]
                    fn $name() {
                        stage::run(stringify!($name), &$clients, &$servers);
                    }
                )*
            };
        }
    };
}

scenarios! {
    a_login_tells_what_the_server_allows_and_what_it_may_do
    a_wrong_password_and_an_unknown_user_are_refused_alike
    nobody_is_let_in_where_nobody_decides
    a_name_that_the_server_does_not_take_is_a_wrong_user_id
    a_device_kind_that_may_not_log_in_is_told_so
    a_query_before_login_is_answered_before_it
    a_query_before_login_that_nobody_answers_is_unsupported
    a_newer_login_pushes_the_older_one_out_for_good
    where_the_older_login_stays_the_newer_one_is_told_that_it_is_on
    a_user_is_on_with_several_devices_and_each_gets_the_message
    devices_that_exclude_each_other_push_each_other_out
    who_takes_no_messages_is_no_target_and_may_send
    who_has_the_right_kicks_and_others_do_not
    the_server_kicks_whom_it_wants
    a_client_that_logs_off_is_gone_at_once
    a_client_logs_off_when_its_last_handle_goes
    a_client_that_closes_is_not_waited_for

    plain_messages_arrive_once_and_in_order
    certain_messages_arrive_once_and_in_order
    a_certain_message_to_nobody_has_the_outcome_that_nobody_is_there
    certain_messages_of_many_are_under_way_at_the_same_time
    who_asks_is_told_of_a_plain_message_that_went_nowhere
    a_message_that_may_be_dropped_arrives_where_nothing_is_in_its_way
    a_message_with_a_tag_arrives_as_such_and_echoes_to_other_devices
    frames_that_share_a_websocket_message_arrive_one_by_one
    a_certain_message_has_its_time
    messages_to_the_server_reach_its_application_in_order
    the_servers_application_sends_and_asks_like_a_user
    empty_and_large_bodies_and_names_beyond_ascii_arrive_as_they_are
    a_message_to_oneself_comes_back
    handlers_get_the_messages_of_one_source_one_after_the_other
    the_servers_handler_gets_the_messages_of_one_source_one_after_the_other
    a_handler_that_panics_loses_nothing_but_its_own_message
    a_handler_may_ask_its_sender_back
    who_handles_nothing_drops_messages_and_confirms_them
    an_outcome_that_nobody_waits_for_changes_nothing

    a_query_is_answered_by_a_user_and_by_the_server
    a_query_that_is_not_answered_says_why
    a_slow_answer_delays_no_other
    both_sides_ask_each_other_at_the_same_time
    a_query_goes_to_the_device_that_logged_on_last
    pings_and_lists_are_answered
    a_query_whose_answerer_leaves_fails
    what_is_open_when_its_client_closes_is_lost
    a_query_of_the_server_is_lost_when_it_shuts_down

    a_cut_is_told_and_what_was_sent_meanwhile_arrives
    cuts_of_either_side_lose_nothing_and_double_nothing
    an_open_query_outlives_a_cut_of_either_side
    the_user_is_online_until_the_resume_window_ends_and_then_not
    a_client_that_may_not_come_back_ends_with_its_connection
    a_server_that_comes_back_finds_its_clients_again
    a_server_that_was_away_is_a_fresh_session_and_open_queries_are_lost
    a_shutdown_asks_clients_to_leave_and_to_come_later
    a_client_waits_for_a_server_as_long_as_it_is_told_to
    connections_that_were_accepted_elsewhere_are_served
    websockets_that_were_opened_elsewhere_are_served
    a_line_that_goes_dead_is_left_by_both_sides_and_loses_nothing
    a_wait_that_is_given_up_changes_nothing
    events_that_nobody_takes_hold_up_nothing_and_are_counted
    connections_that_the_application_makes_are_used

    blobs_of_every_size_arrive_whole
    a_blob_is_read_from_a_file
    a_blob_to_the_server_reaches_its_application
    a_blob_is_taken_as_a_stream
    a_blob_that_is_not_wanted_is_refused_with_the_reason
    a_blob_that_its_sender_stops_ends_on_both_sides
    a_blob_that_is_too_large_to_be_taken_whole_is_refused
    messages_and_queries_pass_a_blob_that_waits
    a_blob_goes_on_after_a_cut_of_either_side
    a_blob_that_nobody_waits_for_goes_on
    only_so_many_blobs_are_under_way_at_once
    a_device_that_leaves_or_does_not_want_a_blob_holds_up_no_other
    a_blob_reaches_every_device_of_a_user

    what_is_larger_than_a_frame_is_refused_at_home
    a_client_takes_only_so_much_while_it_is_cut_off
    only_so_many_queries_of_a_session_are_open
    only_so_many_logins_that_take_no_messages_are_on_at_once
    a_handler_that_never_returns_is_left_in_time_and_holds_up_its_own_source_only
    a_full_window_holds_up_the_sender_of_messages_and_nothing_else
    who_floods_a_slow_receiver_is_refused_and_others_are_not
    one_connection_too_many_is_told_to_come_later
    a_server_that_is_not_there_is_an_error
    an_authenticator_that_panics_or_never_answers_harms_nobody_else
    who_cannot_be_checked_now_comes_later_by_itself
    a_page_of_a_strange_origin_is_turned_away
    a_login_that_is_given_up_is_no_login
    who_decides_sees_the_system_token
    who_comes_back_by_itself_shows_the_ticket_of_its_last_login
    who_has_no_ticket_where_one_is_wanted_may_not_come_back
    who_came_by_a_credential_that_was_given_up_is_closed

    hooks_hear_who_came_was_pushed_out_and_went_in_order
    hooks_hear_what_did_not_arrive_and_one_that_panics_is_the_only_one_lost
    a_blob_to_a_group_reaches_its_members_on_every_device

    contacts_are_listed_and_hear_of_each_other
    a_flap_is_silent_and_who_is_cut_off_stays_online
    a_broadcast_reaches_the_other_members_in_order_and_its_sender_if_asked_to
    who_is_no_member_may_neither_broadcast_nor_look
    groupmates_hear_of_each_other
    a_dynamic_group_is_made_joined_changed_and_left
    only_its_maker_and_who_has_the_right_say_who_is_in_a_dynamic_group
    a_user_makes_only_so_many_dynamic_groups_whatever_they_are_called
    a_slow_device_of_a_member_holds_up_no_other

    what_is_stored_for_somebody_offline_arrives_in_order_after_their_login_and_once
    whoever_is_online_gets_a_storable_message_at_once_and_the_store_does_not
    the_sender_hears_why_a_message_is_not_stored
    where_there_is_no_store_nobody_is_kept_a_message_for
    a_store_that_fails_fails_those_who_asked_and_nobody_else
    a_store_that_never_answers_is_waited_for_only_so_long_by_those_who_asked
    what_is_stored_for_a_device_waits_for_that_one
    what_no_handler_returned_from_comes_again_until_it_was_tried_too_often
    what_was_stored_outlives_its_sender_and_a_restart_of_the_server
    what_waits_for_a_sleeper_is_stored_when_the_resume_window_ends
    what_the_servers_application_sends_is_stored_for_whoever_is_offline_and_outlives_the_server
    what_the_servers_application_sends_to_a_sleeper_is_stored_when_the_resume_window_ends
    the_servers_application_hears_of_a_store_that_fails
}

macro_rules! pairs {
    ($($pair:ident: $clients:expr, $servers:expr;)*) => {
        $(mod $pair {
            use super::*;
            suite!($clients, $servers);
        })*
    };
}

pairs! {
    tokio: Tokio, Tokio;
    smol: Smol, Smol;
    tokio_to_smol: Tokio, Smol;
    smol_to_tokio: Smol, Tokio;
    threads: Threads, Threads;
    threads_to_tokio: Threads, Tokio;
    tokio_to_threads: Tokio, Threads;
    smol_to_threads: Smol, Threads;
    threads_to_smol: Threads, Smol;
}

#[test]
fn every_scenario_is_a_test() {
    let names: std::collections::BTreeSet<&str> = NAMES.iter().copied().collect();
    let written = stage::scenarios();
    assert_eq!(names, written.keys().map(String::as_str).collect());
    assert_eq!(NAMES.len(), written.len());
}
