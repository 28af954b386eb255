//! Files that the service writes for its users.

pub mod errors_csv;

pub use errors_csv::ErrorsCsv;
