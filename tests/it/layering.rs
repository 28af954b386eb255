//! The direction rule, held by a scan of the sources: who may use which module of ours, and who owns which crate of
//! others. Tests within `src` may use more.

use std::path::{Path, PathBuf};

/// A module and what it may use besides itself. `app` puts everything together and is not listed.
const MODULES: [(&str, &[&str]); 18] = [
    ("lib", &[]),
    ("main", &["cli", "config", "telemetry"]),
    ("model", &[]),
    ("sort", &[]),
    ("config", &[]),
    ("telemetry", &["config"]),
    ("clock", &["model"]),
    ("export", &["model"]),
    ("receive", &["model"]),
    ("parse", &["export", "model"]),
    ("metric", &["model"]),
    ("redis_client", &["clock"]),
    ("limit", &["clock", "redis_client", "model"]),
    ("store", &["metric", "model"]),
    ("query", &["store", "metric", "model"]),
    ("ingest", &["receive", "parse", "store", "clock", "model"]),
    ("transfer", &["ingest", "store", "clock", "model"]),
    (
        "job",
        &["store", "sort", "metric", "clock", "redis_client", "model"],
    ),
];

/// Those at the rim. `http` turns the errors of all stages into problems; `cli` asks the store who holds a directory.
const RIM: [(&str, &[&str]); 2] = [
    (
        "http",
        &[
            "ingest", "transfer", "query", "job", "limit", "clock", "store", "parse", "export",
            "receive", "model",
        ],
    ),
    ("cli", &["app", "config", "store"]),
];

/// A crate and the places that may name it, by the beginning of their path.
const CRATES: [(&str, &[&str]); 34] = [
    // `app` holds the running server.
    ("actix_web", &["http/", "app.rs"]),
    ("actix_multipart", &["http/"]),
    ("subtle", &["http/"]),
    ("sha1", &["transfer/"]),
    ("httpdate", &["http/"]),
    ("rustls", &["cli/"]),
    // One reads checksums, the other metadata.
    ("base64", &["transfer/", "http/"]),
    ("csv_async", &["parse/"]),
    ("flate2", &["receive/"]),
    ("zstd", &["receive/"]),
    ("encoding_rs", &["receive/"]),
    ("chardetng", &["receive/"]),
    ("strsim", &["parse/"]),
    ("memchr", &["parse/", "ingest/survey.rs"]),
    ("mongodb", &["store/mongo/"]),
    ("rusqlite", &["store/embedded/"]),
    ("parquet", &["store/parquet_file/"]),
    ("arrow_array", &["store/parquet_file/"]),
    ("arrow_buffer", &["store/parquet_file/"]),
    ("arrow_schema", &["store/parquet_file/"]),
    // `app` names our module of that name, not the crate.
    ("apalis", &["job/apalis/", "app"]),
    // `telemetry` names the place that its log lines come from.
    ("apalis_core", &["job/apalis", "telemetry.rs"]),
    ("apalis_redis", &["job/apalis/redis"]),
    // The client connects; the others run scripts.
    (
        "redis",
        &["redis_client.rs", "limit/redis.rs", "job/apalis/redis"],
    ),
    // One reads networks, the other looks into them.
    ("ipnet", &["config/", "http/"]),
    ("datasketches", &["metric/"]),
    ("roaring", &["job/"]),
    ("governor", &["limit/"]),
    ("reqwest", &["cli/"]),
    ("clap", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("dotenvy", &["config/"]),
    ("tracing_subscriber", &["telemetry.rs"]),
    // Spilled runs and standard input; a service proper writes under DATA_DIR only.
    ("tempfile", &["sort/", "job/", "cli/"]),
];

fn sources(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("a name").path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            all.push(path);
        }
    }
}

/// The text without comments and without the tests at its end.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests {");
    let text = &text[..tests.unwrap_or(text.len())];
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn name_at(text: &str) -> &str {
    let end = text.bytes().position(|byte| !is_name(byte));
    &text[..end.unwrap_or(text.len())]
}

/// Whether a path begins with `name::` somewhere.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].bytes().next_back();
        before.is_none_or(|byte| !is_name(byte) && byte != b':')
    })
}

/// The modules named after `root::`, one by one or in braces.
fn modules<'a>(code: &'a str, root: &str) -> Vec<&'a str> {
    let root = format!("{root}::");
    let mut all = Vec::new();
    for (at, _) in code.match_indices(&root) {
        let rest = &code[at + root.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            all.push(name_at(rest));
            continue;
        };
        let (mut depth, mut starts) = (1, true);
        for (at, byte) in list.bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b',' if depth == 1 => starts = true,
                byte if depth == 1 && starts && is_name(byte) => {
                    all.push(name_at(&list[at..]));
                    starts = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    all.retain(|name| {
        name.bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase())
    });
    all
}

fn faults(path: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let module = name_at(path);
    let mut all = Vec::new();
    if module != "app" {
        let root = if module == "main" {
            "tallymill"
        } else {
            "crate"
        };
        let rule = MODULES.iter().chain(&RIM).find(|(name, _)| *name == module);
        let (_, allowed) = rule.unwrap_or_else(|| panic!("src/{path} is in no table"));
        for used in modules(&code, root) {
            if used != module && !allowed.contains(&used) {
                all.push(format!("src/{path} may not use {root}::{used}"));
            }
        }
    }
    for (name, owners) in CRATES {
        if names(&code, name) && !owners.iter().any(|owner| path.starts_with(owner)) {
            all.push(format!("src/{path} may not use the crate {name}"));
        }
    }
    all.sort();
    all.dedup();
    all
}

#[test]
fn every_module_uses_only_what_stands_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut all) = (Vec::new(), Vec::new());
    sources(&src, &mut files);
    assert!(files.len() > 50, "the sources are found");
    for file in files {
        let path = file.strip_prefix(&src).expect("below src");
        let path = path.to_string_lossy().replace('\\', "/");
        if !path
            .split('/')
            .any(|part| part == "tests" || part == "tests.rs")
        {
            all.extend(faults(
                &path,
                &std::fs::read_to_string(&file).expect("reads"),
            ));
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn the_scan_sees_paths_and_lists_but_neither_comments_nor_tests() {
    let text = "use crate::{model::{A, B}, store::C};\n// crate::http\nfn f(x: crate::app::App) { rusqlite::open() }\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n";
    assert_eq!(
        faults("parse/mod.rs", text),
        [
            "src/parse/mod.rs may not use crate::app",
            "src/parse/mod.rs may not use crate::store",
            "src/parse/mod.rs may not use the crate rusqlite",
        ]
    );
    assert_eq!(
        faults("job/apalis/supervise.rs", "use apalis::prelude;"),
        [""; 0]
    );
}
