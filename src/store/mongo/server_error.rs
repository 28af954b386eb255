//! Classifies errors of the server: a duplicate `_id`, a lost race, an unavailable server, or a failure.

use mongodb::{
    bson::{Bson, Document},
    error::{Error, ErrorKind, WriteFailure},
};

use crate::{model::CallFailure, store::StoreError};

/// The server's code for a duplicate `_id` or other unique key.
const DUPLICATE_KEY: i32 = 11_000;

/// Returns the indices of the documents with a duplicate `_id`, if the insert has no other error.
pub(super) fn duplicate_ids(why: &Error) -> Option<Vec<usize>> {
    let ErrorKind::InsertMany(many) = why.kind.as_ref() else {
        return None;
    };
    let errors = many.write_errors.as_ref()?;
    let only_duplicates =
        many.write_concern_error.is_none() && errors.iter().all(|e| e.code == DUPLICATE_KEY);
    only_duplicates.then(|| errors.iter().map(|e| e.index).collect())
}

/// Returns the indices of the upserts that lost a race; any other write error is an error.
pub(super) fn lost_upserts(answer: &Document) -> std::result::Result<Vec<usize>, Error> {
    if let Some(why) = answer.get("writeConcernError") {
        return Err(Error::custom(ReplyError {
            unavailable: true,
            failure: Some(CallFailure::WritesRefused),
            why: format!("not acknowledged by a majority: {why}"),
        }));
    }
    let Ok(errors) = answer.get_array("writeErrors") else {
        return Ok(Vec::new());
    };
    errors
        .iter()
        .map(|error| {
            let error = error.as_document();
            let code = error.and_then(|e| number(e, "code"));
            let index = error.and_then(|e| number(e, "index"));
            match (code, index.and_then(|at| usize::try_from(at).ok())) {
                (Some(DUPLICATE_KEY), Some(at)) => Ok(at),
                (code, _) => Err(Error::custom(ReplyError {
                    unavailable: code.is_some_and(|code| UNAVAILABLE.contains(&code)),
                    failure: code.and_then(failure_of_code),
                    why: format!("{error:?}"),
                })),
            }
        })
        .collect()
}

fn number(error: &Document, key: &str) -> Option<i32> {
    match error.get(key) {
        Some(Bson::Int32(n)) => Some(*n),
        Some(Bson::Int64(n)) => i32::try_from(*n).ok(),
        _ => None,
    }
}

/// An error in the reply to a command of many updates.
#[derive(Debug, Clone)]
struct ReplyError {
    /// Whether another attempt may succeed.
    unavailable: bool,
    /// What it says about the server.
    failure: Option<CallFailure>,
    why: String,
}

/// Codes of a server that changes its primary, stops, is full, is too slow or lacks its majority, and of cursors that
/// such a server lost: <https://www.mongodb.com/docs/manual/reference/error-codes/>.
const UNAVAILABLE: [i32; 25] = [
    6, 7, 24, 43, 46, 50, 64, 89, 91, 100, 112, 133, 134, 175, 189, 202, 237, 262, 9_001, 10_107,
    11_600, 11_602, 13_435, 13_436, 14_031,
];

/// Codes in [`UNAVAILABLE`] that concern one command: its lock, its time, its cursor, or a conflict with another one.
const OF_ONE_COMMAND: [i32; 7] = [24, 43, 46, 50, 112, 175, 237];

/// Returns what an error says about the server; `None` if it concerns the command only.
pub(super) fn failure(why: &Error) -> Option<CallFailure> {
    match why.kind.as_ref() {
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Authentication { .. } => Some(CallFailure::Unreachable),
        ErrorKind::Write(WriteFailure::WriteConcernError(_)) => Some(CallFailure::WritesRefused),
        ErrorKind::Write(WriteFailure::WriteError(error)) => failure_of_code(error.code),
        // Reads fail in this way too: the next answer shows that it is over.
        ErrorKind::Command(command) => {
            failure_of_code(command.code).map(|_| CallFailure::Unreachable)
        }
        ErrorKind::InsertMany(many) => {
            if many.write_concern_error.is_some() {
                return Some(CallFailure::WritesRefused);
            }
            let errors = many.write_errors.iter().flatten();
            errors.map(|error| error.code).find_map(failure_of_code)
        }
        _ => why.get_custom::<ReplyError>()?.failure,
    }
}

fn failure_of_code(code: i32) -> Option<CallFailure> {
    let of_server = UNAVAILABLE.contains(&code) && !OF_ONE_COMMAND.contains(&code);
    of_server.then_some(CallFailure::WritesRefused)
}

/// Converts an error of the driver. `Unavailable` is due to the state of the server, `Failed` to the command.
pub(super) fn store_error(what: &'static str, why: Error) -> StoreError {
    let unavailable = match why.kind.as_ref() {
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Authentication { .. }
        | ErrorKind::Shutdown
        | ErrorKind::Write(WriteFailure::WriteConcernError(_)) => true,
        ErrorKind::Command(command) => UNAVAILABLE.contains(&command.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => UNAVAILABLE.contains(&error.code),
        ErrorKind::InsertMany(many) => {
            many.write_concern_error.is_some()
                || many
                    .write_errors
                    .iter()
                    .flatten()
                    .any(|error| UNAVAILABLE.contains(&error.code))
        }
        _ => false,
    };
    let reply = why.get_custom::<ReplyError>().cloned();
    let unavailable = unavailable
        || why.contains_label(mongodb::error::RETRYABLE_WRITE_ERROR)
        || reply.as_ref().is_some_and(|reply| reply.unavailable);
    let source: Box<dyn std::error::Error + Send + Sync> = match reply {
        Some(reply) => reply.why.into(),
        None => one_line(&why).into(),
    };
    if unavailable {
        StoreError::Unavailable { what, source }
    } else {
        StoreError::Failed { what, source }
    }
}

/// Returns the cause in one line; the driver's text for a failed server selection is long.
fn one_line(why: &Error) -> String {
    let text = why.to_string();
    let text = text
        .split_once("Error: Kind: ")
        .map_or(&*text, |(_, cause)| cause);
    let text = text.strip_prefix("Kind: ").unwrap_or(text);
    let text = text.split(", labels: ").next().unwrap_or(text);
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::doc;

    fn classify(answer: &Document) -> Result<Vec<usize>, StoreError> {
        lost_upserts(answer).map_err(|why| store_error("a test", why))
    }

    #[test]
    fn lost_races_refused_updates_and_unavailable_servers_differ() {
        let error = |code: i32, at: i32| doc! { "ok": 1, "writeErrors": [{ "index": at, "code": code, "errmsg": "x" }] };
        assert!(classify(&doc! { "ok": 1 }).is_ok_and(|lost| lost.is_empty()));
        assert!(classify(&error(11_000, 3)).is_ok_and(|lost| lost == [3]));
        let refused =
            classify(&error(121, 0)).expect_err("the document does not pass its validator");
        assert!(matches!(refused, StoreError::Failed { .. }), "{refused:?}");
        let away = [
            error(10_107, 0),
            error(91, 1),
            doc! { "writeConcernError": { "code": 64 } },
        ];
        for answer in away {
            let away = classify(&answer).expect_err("the server is away");
            assert!(matches!(away, StoreError::Unavailable { .. }), "{away:?}");
        }
    }
}
