//! Proposals: options that would let rows be read, or settle a question. A proposal is never applied by itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value of a file that proves or shows something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The number of the row, from 1; 0 for a line that is no row, such as the header.
    pub row: u32,
    /// The physical line.
    pub line: u32,
    /// The value, clipped.
    pub value: String,
}

/// What an option is to be sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposalScope {
    /// The rejected rows, as `errors.csv` with `parent=`; the whole file if nothing of it is stored.
    RejectedRows,
    /// The whole file, after what is stored of it is deleted.
    File,
}

/// An option that would let rows be read, or settle a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The name of the option.
    pub option: String,
    /// Its value.
    pub value: String,
    /// What it is to be sent with.
    pub scope: ProposalScope,
    /// Whether the values of the file prove it; otherwise it is one answer to a question.
    pub proven: bool,
    /// Rows that it concerns.
    pub rows: u64,
    /// A value that shows it.
    pub evidence: Option<Evidence>,
    /// Why, in words.
    pub reason: String,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reason,
            option,
            value,
            ..
        } = self;
        write!(f, "{reason}: send `{option}={value}`")
    }
}

/// Returns the proposals in words; those for one option are alternatives.
#[must_use]
pub fn in_words(proposals: &[Proposal]) -> String {
    let mut text = String::new();
    for (at, proposal) in proposals.iter().enumerate() {
        let Proposal { option, value, .. } = proposal;
        let previous = at.checked_sub(1).map(|before| &proposals[before]);
        text += &match previous {
            None => proposal.to_string(),
            Some(before) if before.option == *option => format!(", or `{option}={value}`"),
            Some(_) => format!("; and `{option}={value}`"),
        };
    }
    text
}
