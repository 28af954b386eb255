//! Recomputes one day from the published partials. Whoever answers the newest wish wins.

use crate::{
    job::{Done, WorkError, engine::runner::Runner},
    model::Day,
};

/// One run.
pub(crate) async fn run(runner: &Runner, day: Day) -> Result<Done, WorkError> {
    roll_up(runner, day).await?;
    let state = runner.store.day(day).await?;
    Ok(if state.computed < state.wanted {
        Done::Again
    } else {
        Done::Completed
    })
}

/// Brings a day's figures up to the wish read at the start; nothing to do if another run has.
pub(super) async fn roll_up(runner: &Runner, day: Day) -> Result<(), WorkError> {
    let state = runner.store.day(day).await?;
    if state.computed < state.wanted {
        let figures = runner.store.fold_day(day).await?;
        runner
            .store
            .replace_day(day, state.wanted, runner.clock.now(), &figures)
            .await?;
    }
    Ok(())
}
