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
        return Err(Error::custom(Refused {
            away: true,
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
                (code, _) => Err(Error::custom(Refused {
                    away: code.is_some_and(|code| AWAY.contains(&code)),
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

/// What a reply to a command of many changes says against one of them.
#[derive(Debug, Clone)]
struct Refused {
    away: bool,
    why: String,
}

/// Codes of a server that is changing its primary, stopping, out of room, out of time or short of its majority, and of
/// cursors that went with it: <https://www.mongodb.com/docs/manual/reference/error-codes/>.
const AWAY: [i32; 25] = [
    6, 7, 24, 43, 46, 50, 64, 89, 91, 100, 112, 133, 134, 175, 189, 202, 237, 262, 9_001, 10_107,
    11_600, 11_602, 13_435, 13_436, 14_031,
];

/// Whether a fault is the server's state, and not what was asked of it.
pub(super) fn fault(what: &'static str, why: Error) -> StoreError {
    let away = match why.kind.as_ref() {
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Authentication { .. }
        | ErrorKind::Shutdown
        | ErrorKind::Write(WriteFailure::WriteConcernError(_)) => true,
        ErrorKind::Command(command) => AWAY.contains(&command.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => AWAY.contains(&error.code),
        ErrorKind::InsertMany(many) => {
            many.write_concern_error.is_some()
                || many
                    .write_errors
                    .iter()
                    .flatten()
                    .any(|error| AWAY.contains(&error.code))
        }
        _ => false,
    };
    let refused = why.get_custom::<Refused>().cloned();
    let away = away
        || why.contains_label(mongodb::error::RETRYABLE_WRITE_ERROR)
        || refused.as_ref().is_some_and(|refused| refused.away);
    let source: Box<dyn std::error::Error + Send + Sync> = match refused {
        Some(refused) => refused.why.into(),
        None => Box::new(why),
    };
    if away {
        StoreError::Unavailable { what, source }
    } else {
        StoreError::Failed { what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::doc;

    fn of(answer: &Document) -> Result<Vec<usize>, StoreError> {
        raced(answer).map_err(|why| fault("a test", why))
    }

    #[test]
    fn of_many_changes_one_that_raced_is_told_from_one_that_is_refused_and_from_a_server_that_is_away()
     {
        let error = |code: i32, at: i32| doc! { "ok": 1, "writeErrors": [{ "index": at, "code": code, "errmsg": "x" }] };
        assert!(of(&doc! { "ok": 1 }).is_ok_and(|raced| raced.is_empty()));
        assert!(of(&error(11_000, 3)).is_ok_and(|raced| raced == [3]));
        let refused = of(&error(121, 0)).expect_err("the document does not pass its validator");
        assert!(matches!(refused, StoreError::Failed { .. }), "{refused:?}");
        let away = [
            error(10_107, 0),
            error(91, 1),
            doc! { "writeConcernError": { "code": 64 } },
        ];
        for answer in away {
            let away = of(&answer).expect_err("the server is away");
            assert!(matches!(away, StoreError::Unavailable { .. }), "{away:?}");
        }
    }
}
