//! Recomputes the figures of one day from the published partials. Of two concurrent runs, the figures for the newer
//! request stay.

use crate::{
    job::{JobContext, RunEnd, RunError},
    model::Day,
    store,
};

/// Runs the job of one day.
pub(super) async fn run(context: &JobContext<'_>, day: Day) -> Result<RunEnd, RunError> {
    roll_up(context, day).await?;
    let end = end_without_run(context, day).await?;
    Ok(end.unwrap_or(RunEnd::MoreRequested))
}

/// Returns the end of the job of a day whose figures are current.
pub(super) async fn end_without_run(
    context: &JobContext<'_>,
    day: Day,
) -> store::Result<Option<RunEnd>> {
    let state = context.store.day(day).await?;
    Ok((state.computed >= state.wanted).then_some(RunEnd::Completed))
}

/// Computes the figures requested when it begins, unless another run has.
pub(super) async fn roll_up(context: &JobContext<'_>, day: Day) -> Result<(), RunError> {
    let state = context.store.day(day).await?;
    if state.computed < state.wanted {
        let figures = context.store.fold_day(day).await?;
        context
            .store
            .replace_day(day, state.wanted, context.clock.now(), &figures)
            .await?;
    }
    Ok(())
}
