//! What the README lists is what there is.

use tallymill::{http::Code, model::FaultCode};

fn readme() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    std::fs::read_to_string(path).expect("a README")
}

#[test]
fn every_code_is_listed() {
    let readme = readme();
    let faults = FaultCode::ALL.map(FaultCode::as_str);
    let problems = Code::ALL.iter().map(|code| code.slug());
    let missing: Vec<_> = faults
        .into_iter()
        .chain(problems)
        .filter(|code| !readme.contains(&format!("`{code}`")))
        .collect();
    assert_eq!(missing, [""; 0], "not in the README");
}
