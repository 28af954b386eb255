//! The version of this build.

use std::sync::LazyLock;

/// The version of the package, with the commit that the build stated in `TALLYMILL_COMMIT`: `0.1.0`, or `0.1.0+3f2c1ab`.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("TALLYMILL_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{version}+{commit}"),
        Some(_) | None => version.into(),
    }
});

/// Returns the version of this build, as `--version`, the log and `/health` show it.
#[must_use]
pub fn version() -> &'static str {
    &VERSION
}
