//! Folds the counted rows of a batch in row order, in as many passes as the memory bound requires.

use roaring::RoaringBitmap;

use crate::{
    job::{JobContext, RunError},
    metric::{DayZone, Fold, Group},
    model::{Batch, Day, JobPhase},
    store::Projection,
};

/// The result of one pass over the events.
pub(super) struct FoldPass {
    /// The groups from the first day of the pass on, by day and type.
    pub(super) groups: Vec<Group>,
    /// The rows read, counted or not.
    pub(super) rows: u64,
    /// The first day of the next pass, if one is needed.
    pub(super) next: Option<Day>,
}

/// Folds the events that are not in `lost`, from the day `from` on.
pub(super) async fn fold_pass(
    context: &JobContext<'_>,
    batch: &Batch,
    lost: &RoaringBitmap,
    from: Day,
) -> Result<FoldPass, RunError> {
    let total = batch.receipt.as_ref().map_or(0, |r| r.rows.inserted);
    let mut fold = Fold::new(
        DayZone::new(context.limits.time_zone),
        from,
        context.limits.fold_groups,
    );
    let mut scan = context
        .store
        .scan_events(batch.id, Projection::USERS)
        .await?;
    let mut rows = 0;
    while let Some(block) = scan.next().await? {
        if lost.is_empty() {
            fold.add(&block, |_| true);
        } else {
            fold.add(&block, |row| !lost.contains(row));
        }
        rows += block.len() as u64;
        context.progress.report(JobPhase::Fold, rows, total);
        tokio::task::consume_budget().await;
    }
    let (groups, next) = fold.finish();
    Ok(FoldPass { groups, rows, next })
}
