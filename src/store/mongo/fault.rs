//! What an answer of the server means: it was there already, another one was ahead, or the server is away.

use mongodb::{
    bson::{Bson, Document},
    error::{Error, ErrorKind, WriteFailure},
};

use crate::store::StoreError;

/// The server's code for an `_id` (or another unique key) that is there already.
const DUPLICATE_KEY: i32 = 11_000;

/// The indices of documents that were there already, if nothing else was wrong.
pub(super) fn already_there(why: &Error) -> Option<Vec<usize>> {
    let ErrorKind::InsertMany(many) = why.kind.as_ref() else {
        return None;
    };
    let errors = many.write_errors.as_ref()?;
    let only_these =
        many.write_concern_error.is_none() && errors.iter().all(|e| e.code == DUPLICATE_KEY);
    only_these.then(|| errors.iter().map(|e| e.index).collect())
}

/// The indices of upserts that another one was ahead of; any other trouble is an error.
pub(super) fn raced(answer: &Document) -> std::result::Result<Vec<usize>, Error> {
    if let Some(why) = answer.get("writeConcernError") {
        return Err(Error::custom(format!(
            "not acknowledged by a majority: {why}"
        )));
    }
    let Ok(errors) = answer.get_array("writeErrors") else {
        return Ok(Vec::new());
    };
    let number = |error: &Document, key: &str| match error.get(key) {
        Some(Bson::Int32(n)) => Some(i64::from(*n)),
        Some(Bson::Int64(n)) => Some(*n),
        _ => None,
    };
    errors
        .iter()
        .map(|error| {
            let error = error.as_document();
            let code = error.and_then(|e| number(e, "code"));
            let index = error.and_then(|e| number(e, "index"));
            match (code, index.and_then(|at| usize::try_from(at).ok())) {
                (Some(code), Some(at)) if code == i64::from(DUPLICATE_KEY) => Ok(at),
                _ => Err(Error::custom(format!("{error:?}"))),
            }
        })
        .collect()
}

/// Codes of a server that is changing its primary, stopping, out of room, out of time or short of its majority:
/// <https://www.mongodb.com/docs/manual/reference/error-codes/>.
const AWAY: [i32; 16] = [
    6, 7, 50, 64, 89, 91, 112, 189, 262, 9_001, 10_107, 11_600, 11_602, 13_435, 13_436, 14_031,
];

/// Whether a fault is the server's state, and not what was asked of it.
pub(super) fn fault(what: &'static str, why: Error) -> StoreError {
    let away = match why.kind.as_ref() {
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Authentication { .. }
        | ErrorKind::Shutdown => true,
        ErrorKind::Command(command) => AWAY.contains(&command.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(_)) => true,
        ErrorKind::Write(WriteFailure::WriteError(error)) => AWAY.contains(&error.code),
        ErrorKind::InsertMany(many) => {
            many.write_concern_error.is_some()
                || many
                    .write_errors
                    .iter()
                    .flatten()
                    .any(|e| AWAY.contains(&e.code))
        }
        // Ours, from a reply to a command of many changes.
        ErrorKind::Custom(_) => true,
        _ => why.contains_label(mongodb::error::RETRYABLE_WRITE_ERROR),
    };
    let source = Box::new(why);
    if away {
        StoreError::Unavailable { what, source }
    } else {
        StoreError::Failed { what, source }
    }
}
