//! The text of an error with its causes.

/// Returns an error with its causes in one line. A cause whose text already stands there is not repeated, and one that
/// repeats the error above it takes its place.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut cause = error.source();
    while let Some(source) = cause {
        let reason = source.to_string();
        if reason.contains(&last) && text.ends_with(&last) {
            text.truncate(text.len() - last.len());
            text.push_str(&reason);
            last = reason;
        } else if !text.contains(&reason) {
            text = format!("{text}: {reason}");
            last = reason;
        }
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn chain(texts: &[&'static str]) -> String {
        let link = texts
            .iter()
            .rev()
            .fold(None, |source, text| Some(Box::new(Link { text, source })));
        with_causes(&*link.expect("a link"))
    }

    #[test]
    fn each_cause_stands_once() {
        for (texts, expected) in [
            (&["a"][..], "a"),
            (&["a", "b"], "a: b"),
            (&["a: b", "b", "c"], "a: b: c"),
            (
                &["db", "is full", "code 13: is full"],
                "db: code 13: is full",
            ),
            (&["is full", "code 13: is full"], "code 13: is full"),
        ] {
            assert_eq!(chain(texts), expected, "{texts:?}");
        }
    }
}
