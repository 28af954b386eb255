//! The text of an error with its causes.

/// Returns an error with its causes in one line. A cause whose text already stands there is not repeated.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let reason = source.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = source.source();
    }
    text
}
