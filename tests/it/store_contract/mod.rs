//! What every store promises, each promise a sentence, each stamped on every backend.
//! What only the embedded store promises stands in [`embedded`].

mod batch;
mod claim;
mod embedded;
mod event;
mod idempotency;
mod job;
mod metric;
mod mongo;
mod profile;
mod transfer;

macro_rules! contract {
    ($($subject:ident { $($case:ident)+ })+) => {
        mod durable {
            use tallymill::store::embedded::Mode;
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let home = crate::helpers::stock::Home::open(Mode::Durable).await;
                    super::$subject::$case(home.store.clone()).await;
                }
            )+)+
        }
        mod simulated {
            use tallymill::store::embedded::Mode;
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let home = crate::helpers::stock::Home::open(Mode::Simulated).await;
                    super::$subject::$case(home.store.clone()).await;
                }
            )+)+
        }
        mod mongodb {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let home = crate::helpers::stock::Home::mongo().await;
                    super::$subject::$case(home.store.clone()).await;
                }
            )+)+
        }
    };
}

contract! {
    batch {
        a_receiving_batch_is_in_no_list
        nothing_of_an_unfinished_writer_can_be_read
        appending_the_same_rejections_twice_keeps_one_copy
        identical_content_is_a_duplicate_of_the_first
        identical_content_of_a_batch_that_goes_is_new
        sealing_a_batch_again_gives_the_same_answer
        an_upload_that_was_given_up_can_not_be_sealed
        pages_of_batches_neither_skip_nor_repeat_under_inserts
        the_longest_unchecked_batch_comes_first
        a_tombstone_is_purged_at_once_and_again_an_hour_later
        deleting_a_batch_takes_its_events_partials_and_rejections
    }
    claim {
        claiming_twice_gives_the_claim_once
        a_claim_of_another_batch_is_held_with_its_row_and_content
        the_same_identity_on_another_row_of_one_batch_is_held
        a_claim_is_taken_over_only_from_the_named_owner
        releasing_removes_only_ones_own
        claims_that_are_not_held_for_the_row_are_named
        an_overlap_seen_before_is_replaced
        losers_come_in_pages_and_go_with_their_owner
    }
    event {
        a_scan_gives_what_is_asked_for_and_no_more
        the_newest_events_come_first_and_pages_neither_skip_nor_repeat
        a_page_of_long_events_ends_early_and_says_so
        long_events_among_short_ones_are_all_found
        a_batch_that_is_not_there_has_no_events_to_find
        live_batches_are_found_by_the_time_of_their_events
        the_file_of_a_batch_holds_its_events_and_outlives_it
    }
    job {
        adding_a_job_changes_none_that_is_there
        arming_twice_queues_one_job
        claiming_a_job_twice_gives_it_once
        of_twenty_workers_exactly_one_gets_a_job
        a_lapsed_lease_can_be_claimed_again_with_a_higher_token
        a_lease_that_was_renewed_does_not_lapse
        a_stale_token_can_neither_renew_nor_settle
        a_settled_job_stays_settled
        due_jobs_come_longest_due_first_and_no_more_than_asked_for
        pages_of_jobs_neither_skip_nor_repeat_under_inserts
        only_settled_slots_of_the_schedule_are_forgotten
    }
    idempotency {
        of_twenty_requests_exactly_one_opens_a_key
        a_key_changes_hands_once_and_only_from_the_batch_that_it_is_about
        only_a_key_that_came_to_nothing_is_given_back
        keys_are_forgotten_by_age
    }
    metric {
        folding_a_batch_twice_changes_nothing
        two_batches_on_one_day_add_up
        a_slow_rollup_can_not_put_an_older_figure_back
        only_published_partials_are_read
        sweeping_keeps_partials_that_are_published_or_under_way
        stale_days_are_those_that_want_more_than_they_have
        days_of_one_type_are_as_many_as_asked_for
    }
    profile {
        a_profile_put_again_is_replaced
        there_are_no_more_profiles_than_may_be
        pages_of_profiles_neither_skip_nor_repeat_under_inserts
    }
    transfer {
        a_file_grows_by_parts_that_begin_where_it_ends
        of_parts_that_begin_at_one_place_one_is_taken
        nothing_is_appended_to_what_has_an_outcome_and_that_is_written_once
        there_is_room_for_so_many_files_and_so_many_of_one_sender
        there_is_room_for_so_many_bytes_that_arrived_and_no_matter_how_many_are_announced
        a_file_has_so_many_parts_and_no_more
        a_file_of_which_nothing_arrives_is_forgotten_with_its_parts
        parts_of_a_file_that_takes_no_more_are_swept
    }
}
