//! Recomputes the figures of one day from the published partials. Of two concurrent runs, the figures for the newer
//! request stay.

use crate::{
    job::{JobContext, RunEnd, RunError},
    model::Day,
};

/// Runs the job of one day.
pub(super) async fn run(context: &JobContext<'_>, day: Day) -> Result<RunEnd, RunError> {
    roll_up(context, day).await?;
    let state = context.store.day(day).await?;
    Ok(if state.computed < state.wanted {
        RunEnd::MoreRequested
    } else {
        RunEnd::Completed
    })
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
