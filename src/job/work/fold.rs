//! Folds the rows that a batch counts, in row order, in as many passes as memory needs.

use roaring::RoaringBitmap;

use crate::{
    job::{
        WorkError,
        engine::runner::{Claimed, Runner},
    },
    metric::{DayZone, Fold, Group},
    model::{Batch, Day, job::Phase},
    store::Projection,
};

/// Counts the events that are not in `lost` from the day `from` on; gives the groups, the rows looked at,
/// and where the next pass begins, if one is needed.
pub(super) async fn pass(
    runner: &Runner,
    claimed: &Claimed<'_>,
    batch: &Batch,
    lost: &RoaringBitmap,
    from: Day,
) -> Result<(Vec<Group>, u64, Option<Day>), WorkError> {
    let total = batch.receipt.as_ref().map_or(0, |r| r.rows.inserted);
    let mut fold = Fold::new(
        DayZone::new(runner.limits.time_zone),
        from,
        runner.limits.fold_groups,
    );
    let mut scan = runner
        .store
        .scan_events(batch.id, Projection::USERS)
        .await?;
    let mut seen = 0;
    while let Some(block) = scan.next().await? {
        if lost.is_empty() {
            fold.add(&block, |_| true);
        } else {
            fold.add(&block, |row| !lost.contains(row));
        }
        seen += block.len() as u64;
        claimed.at(Phase::Fold, seen, total);
        tokio::task::consume_budget().await;
    }
    let (groups, next) = fold.finish();
    Ok((groups, seen, next))
}
