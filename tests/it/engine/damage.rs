//! Damaged data: nothing wrong is published, what is published stays, and everything else goes on.

use std::{fs, path::PathBuf};

use tallymill::model::{BatchId, BatchStatus, JobId, JobState};

use super::{FEW, figures_of_few, harness::Harness, scheduled::run_verification};
use crate::helpers::store_fixtures::DAY;

impl Harness {
    fn event_file(&self, id: BatchId) -> PathBuf {
        self.dir().join("batches").join(format!("{id}.parquet"))
    }

    /// Flips one bit of the event file of a batch, in the middle of its pages.
    fn flip_a_bit(&self, id: BatchId) {
        let mut bytes = fs::read(self.event_file(id)).expect("reads");
        let middle = bytes.len() / 3;
        bytes[middle] ^= 4;
        fs::write(self.event_file(id), bytes).expect("writes");
    }

    /// Asserts that the dead letter of a batch names its file and what to do.
    fn assert_dead_letter(&self, id: BatchId) {
        assert_eq!(self.status(id), BatchStatus::Failed);
        let job = self.job(JobId::Process(id));
        assert_eq!(job.state, JobState::Dead);
        let reason = job.last_error.expect("a reason");
        assert!(
            reason.contains(&format!("batches/{id}.parquet")),
            "{reason}"
        );
        assert!(reason.contains("restore it from a backup"), "{reason}");
    }
}

#[test]
fn events_damaged_before_the_first_run_are_not_counted() {
    let harness = Harness::new();
    let (id, _) = harness.ask(1, &FEW);
    harness.flip_a_bit(id);
    harness.drain();
    harness.assert_dead_letter(id);
    assert_eq!(harness.figures(), []);
}

#[test]
fn published_figures_of_damaged_events_stay() {
    let harness = Harness::new();
    let (id, _) = harness.ask(1, &FEW);
    harness.drain();
    harness.flip_a_bit(id);
    run_verification(&harness);
    harness.drain();
    harness.assert_dead_letter(id);
    assert_eq!(harness.figures(), figures_of_few());
}

#[test]
fn verification_goes_on_after_a_batch_that_it_cannot_read() {
    let harness = Harness::new();
    let damages: [fn(&Harness, BatchId); 3] = [
        |harness, id| fs::remove_file(harness.event_file(id)).expect("removes"),
        |harness, id| fs::write(harness.event_file(id), "PAR1").expect("writes"),
        Harness::flip_a_bit,
    ];
    let mut damaged = Vec::new();
    for (n, _) in (0..).zip(&damages) {
        let user = format!("u{n}");
        damaged.push(harness.ask(n, &[("", "login", &user, 0)]).0);
    }
    let (last, _) = harness.ask(9, &[("e9", "login", "joe", DAY)]);
    harness.drain();
    let figures = harness.figures();
    for (damage, id) in damages.iter().zip(&damaged) {
        damage(&harness, *id);
    }
    run_verification(&harness);
    assert!(harness.batch(last).checked_at.is_some());
    harness.drain();
    for id in damaged {
        harness.assert_dead_letter(id);
    }
    assert_eq!(harness.status(last), BatchStatus::Completed);
    assert_eq!(harness.figures(), figures);
}
