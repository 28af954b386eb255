//! The contract of the store traits: each case is one guarantee, run against every backend and mode.
//! [`embedded`] and [`mongo`] test what only one backend guarantees.

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

/// Runs each case against the embedded store in both modes and against MongoDB.
macro_rules! contract {
    ($($subject:ident { $($case:ident)+ })+) => {
        mod durable {
            use tallymill::store::embedded::Mode;
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let home = crate::helpers::store_fixtures::TestStore::open(Mode::Durable).await;
                    super::$subject::$case(home.store.clone()).await;
                }
            )+)+
        }
        mod simulated {
            use tallymill::store::embedded::Mode;
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let home = crate::helpers::store_fixtures::TestStore::open(Mode::Simulated).await;
                    super::$subject::$case(home.store.clone()).await;
                }
            )+)+
        }
        mod mongodb {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let home = crate::helpers::store_fixtures::TestStore::mongo().await;
                    super::$subject::$case(home.store.clone()).await;
                }
            )+)+
        }
    };
}

contract! {
    batch {
        receiving_batches_are_not_listed
        events_of_an_unfinished_writer_are_unreadable
        repeated_rejections_are_stored_once
        identical_content_is_a_duplicate_of_the_first
        content_of_a_deleted_batch_can_be_sealed_again
        repeated_seals_return_the_same_batch
        abandoned_uploads_are_not_sealed
        pages_of_batches_are_stable_under_inserts
        longest_unchecked_batches_come_first
        deleted_batches_are_purged_at_once_and_an_hour_later
        batches_expire_at_the_time_of_their_last_upload
        old_tombstones_are_forgotten
        old_audit_entries_are_deleted
        deletion_removes_events_partials_and_rejections
    }
    claim {
        claims_belong_to_the_first_batch_even_if_repeated
        foreign_claims_report_owner_row_and_content
        claims_of_another_row_of_the_batch_are_refused
        take_over_affects_only_claims_of_the_named_owner
        release_removes_only_own_claims
        unowned_claims_are_those_of_other_batches_and_rows
        overlaps_of_the_same_pair_are_replaced
        overlaps_are_paged_by_loser_and_dropped_with_the_owner
    }
    event {
        scans_read_only_the_projected_columns
        pages_return_every_matching_event_once_newest_first
        pages_of_long_events_end_early_and_report_more
        long_events_among_short_ones_are_all_returned
        events_of_an_unknown_batch_are_missing
        live_batches_are_listed_by_event_time
        event_files_have_all_events_or_end_with_an_error
    }
    job {
        adding_a_job_leaves_an_existing_one_unchanged
        arming_twice_queues_one_job
        leases_of_due_jobs_are_acquired_once
        one_of_twenty_workers_acquires_the_lease
        expired_leases_are_acquired_with_a_higher_token
        renewed_leases_do_not_expire
        stale_tokens_are_refused
        settled_jobs_stay_settled
        longest_due_jobs_come_first_up_to_the_limit
        pages_of_jobs_are_stable_under_inserts
        only_settled_scheduled_jobs_are_pruned
        all_scheduled_jobs_but_the_latest_of_a_kind_are_pruned
    }
    idempotency {
        one_of_twenty_requests_adds_the_entry
        entries_are_replaced_once_and_only_for_their_batch
        only_keys_without_an_outcome_are_released
        entries_are_pruned_by_age
    }
    metric {
        repeated_partials_and_folds_change_nothing
        partials_of_batches_on_one_day_are_summed
        older_figures_never_replace_newer_ones
        only_published_partials_are_folded
        figures_of_many_batches_follow_each_change
        published_and_current_partials_are_not_dropped
        days_are_stale_while_wanted_exceeds_computed
        limit_counts_only_days_with_the_requested_type
    }
    profile {
        profiles_of_the_same_name_are_replaced
        new_profiles_beyond_the_limit_are_refused
        pages_of_profiles_are_stable_under_inserts
    }
    transfer {
        parts_are_appended_only_at_the_end_of_the_file
        one_of_concurrent_parts_with_the_same_start_is_appended
        outcomes_are_final_and_close_the_transfer
        transfers_are_limited_in_total_and_per_sender
        stored_bytes_are_limited_and_announced_bytes_are_not
        parts_of_one_transfer_are_limited
        idle_transfers_expire_with_their_parts
        orphaned_parts_are_deleted
    }
}
