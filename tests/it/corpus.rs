//! Replays the corpus of the fuzzer, which `tests/long fuzz` extends.

use std::path::Path;

#[path = "../../fuzz/src/case.rs"]
pub(crate) mod case;
#[path = "../../fuzz/src/check.rs"]
mod check;

#[test]
fn what_the_fuzzer_kept_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/receive_parse");
    let entries = std::fs::read_dir(&corpus).expect("a corpus");
    let mut inputs = 0;
    for entry in entries {
        let path = entry.expect("a name").path();
        let input = std::fs::read(&path).expect("reads");
        // Shown when the check panics.
        println!("{}", path.display());
        check::check(&input);
        inputs += 1;
    }
    assert!(inputs >= 50, "{inputs} inputs in {}", corpus.display());
}
