//! The direction rule, held by a scan of the sources: who may use which module of ours, and who owns which crate of
//! others. Tests within `src` may use more.

use std::path::{Path, PathBuf};

/// The modules in the order of `lib.rs`, and the modules above that each may use. `app` puts everything together.
const MODULES: [(&str, &[&str]); 19] = [
    ("model", &[]),
    ("clock", &["model"]),
    ("redis_client", &["model", "clock"]),
    ("export", &["model"]),
    ("receive", &["model"]),
    ("parse", &["model", "export"]),
    ("metric", &["model"]),
    ("store", &["model", "metric"]),
    ("ingest", &["model", "clock", "receive", "parse", "store"]),
    ("transfer", &["model", "clock", "store", "ingest"]),
    ("sort", &[]),
    (
        "job",
        &["model", "clock", "redis_client", "metric", "store", "sort"],
    ),
    ("query", &["model", "metric", "store"]),
    ("limit", &["model", "clock", "redis_client"]),
    // It turns the errors of all stages into problems.
    (
        "http",
        &[
            "model", "clock", "export", "receive", "parse", "store", "ingest", "transfer", "job",
            "query", "limit",
        ],
    ),
    ("config", &[]),
    ("telemetry", &["config"]),
    ("app", &[]),
    // It asks the store which process holds a directory.
    ("cli", &["model", "store", "config", "app"]),
];

/// The two files above the modules.
const ROOTS: [(&str, &[&str]); 2] = [("lib", &[]), ("main", &["config", "telemetry", "cli"])];

/// Parts of modules that must not know their neighbours, by the beginning of their path.
const APART: [(&str, &[&str]); 3] = [
    ("job/engine/", &["work", "apalis", "schedule", "service"]),
    ("job/work/", &["engine", "apalis", "schedule", "service"]),
    // Rows come from CSV today, from other formats later.
    ("parse/row.rs", &["csv"]),
];

/// The crates that any module may name.
const COMMON: [&str; 13] = [
    "async_trait",
    "bytes",
    "chrono",
    "chrono_tz",
    "futures_util",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "tokio",
    "tokio_util",
    "tracing",
    "uuid",
];

/// Every other crate and the places that may name it, by the beginning of their path.
const CRATES: [(&str, &[&str]); 39] = [
    (
        "xxhash_rust",
        &[
            "model/",
            "metric/",
            "store/parquet_file/",
            "job/engine/",
            "query/",
        ],
    ),
    // `app` holds the running server.
    ("actix_web", &["http/", "app.rs"]),
    ("actix_cors", &["http/"]),
    ("actix_multipart", &["http/"]),
    ("socket2", &["http/connections.rs"]),
    ("subtle", &["http/"]),
    ("sha1", &["transfer/"]),
    ("httpdate", &["http/"]),
    ("rustls", &["cli/"]),
    ("hex", &["model/", "ingest/", "query/"]),
    // One reads checksums, the other metadata.
    ("base64", &["transfer/", "http/"]),
    ("csv_async", &["parse/"]),
    ("flate2", &["receive/"]),
    ("zstd", &["receive/"]),
    ("encoding_rs", &["receive/"]),
    ("chardetng", &["receive/"]),
    ("strsim", &["parse/"]),
    ("memchr", &["parse/", "ingest/value_warnings.rs"]),
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
    ("rustix", &["cli/"]),
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
        let rule = MODULES
            .iter()
            .chain(&ROOTS)
            .find(|(name, _)| *name == module);
        let (_, allowed) = rule.unwrap_or_else(|| panic!("src/{path} is in no table"));
        for used in modules(&code, root) {
            if used != module && !allowed.contains(&used) {
                all.push(format!("src/{path} may not use {root}::{used}"));
            }
        }
    }
    for (part, neighbours) in APART {
        for name in neighbours.iter().filter(|_| path.starts_with(part)) {
            let path_of_name = format!("{name}::");
            let mut places = code.match_indices(&path_of_name);
            if places.any(|(at, _)| !code[..at].bytes().next_back().is_some_and(is_name)) {
                all.push(format!("src/{path} may not use {name}"));
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
fn the_table_has_the_order_of_lib_and_looks_only_up() {
    let lib = include_str!("../../src/lib.rs");
    let declared: Vec<_> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(MODULES.map(|(name, _)| name)[..], declared[..]);
    for (at, (name, used)) in MODULES.iter().enumerate() {
        let above = &declared[..at];
        let below: Vec<_> = used.iter().filter(|used| !above.contains(used)).collect();
        assert!(
            below.is_empty(),
            "{name} uses {below:?}, which stand below it"
        );
    }
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
        faults("job/engine/runner.rs", "use crate::job::work::Bodies;"),
        ["src/job/engine/runner.rs may not use work"]
    );
    assert_eq!(
        faults("job/apalis/supervise.rs", "use apalis::prelude;"),
        [""; 0]
    );
}

#[test]
fn every_dependency_is_common_or_has_an_owner() {
    let manifest = include_str!("../../Cargo.toml");
    let section = manifest.split("[dependencies]\n").nth(1);
    let section = section.and_then(|rest| rest.split("\n[").next());
    let mut dependencies: Vec<_> = section
        .expect("a section")
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_")))
        .collect();
    dependencies.sort_unstable();
    let owned = CRATES.iter().map(|(name, _)| *name);
    let mut listed: Vec<_> = owned.chain(COMMON).collect();
    listed.sort_unstable();
    assert_eq!(dependencies, listed);
}
