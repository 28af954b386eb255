use std::collections::HashMap;

use super::*;

fn with(settings: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
    let settings: HashMap<_, _> = settings.iter().copied().collect();
    Config::from_lookup(|key| settings.get(key).map(|value| (*value).to_owned()))
}

fn faults(settings: &[(&str, &str)]) -> Vec<String> {
    with(settings).expect_err("faulty").0
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = with(&[]).expect("defaults");
    assert_eq!(config.address().to_string(), "127.0.0.1:3000");
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!(config.admin_token, None);
    assert_eq!(config.cleanup_ttl, Some(Duration::from_secs(86_400)));
    assert_eq!(config.time_zone, Tz::UTC);
    assert_eq!((config.upload_limit, config.worker_concurrency), (10, 2));
    assert_eq!(config.limits.body_bytes, 4 * 1024 * 1024 * 1024);
    assert_eq!(
        (config.limits.event_types, config.limits.days),
        (1_000, 4_000)
    );
}

#[test]
fn exactly_the_settings_of_the_table_are_read() {
    let read = std::cell::RefCell::new(Vec::new());
    let config = Config::from_lookup(|key| {
        read.borrow_mut().push(key.to_owned());
        None
    });
    assert!(config.is_ok());
    let mut read = read.into_inner();
    read.sort();
    let mut known: Vec<_> = table::settings().map(|s| s.key.to_owned()).collect();
    known.sort();
    assert_eq!(read, known);
}

#[test]
fn all_faults_are_reported_at_once() {
    let faults = faults(&[
        ("HOST", "here"),
        ("PORT", "70000"),
        ("TIME_ZONE", "Berlin"),
        ("SWEEP_SECONDS", "0"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("COLUMN_LIMIT", "-1"),
    ]);
    assert_eq!(faults.len(), 7, "{faults:#?}");
    for (fault, parts) in faults.iter().zip([
        ["HOST=here", "an IP address"],
        ["PORT=70000", "from 0 to 65535"],
        ["LOG_LEVEL=loud", "debug"],
        ["LOG_FORMAT=xml", "text or json"],
        ["TIME_ZONE=Berlin", "Europe/Berlin"],
        ["SWEEP_SECONDS=0", "seconds from 1"],
        ["COLUMN_LIMIT=-1", "a whole number from 3"],
    ]) {
        assert!(parts.iter().all(|part| fault.contains(part)), "{fault}");
    }
}

#[test]
fn redis_needs_mongodb_and_passwords_are_hidden() {
    let (mongo, redis) = (
        (
            "MONGO_URI",
            "mongodb://me:hunter2-hunter2-hunter2@db/tallymill",
        ),
        ("REDIS_URL", "redis://:hunter2-hunter2-hunter2@cache"),
    );
    let both = with(&[mongo, redis]).expect("fine");
    assert_eq!(both.mongo_uri.as_ref().map(Secret::expose), Some(mongo.1));
    assert_eq!(both.redis_url.as_ref().map(Secret::expose), Some(redis.1));
    assert!(!format!("{both:?}").contains("hunter2-hunter2-hunter2"));
    assert!(with(&[mongo]).is_ok_and(|config| config.redis_url.is_none()));
    let faults = faults(&[redis]);
    assert!(faults[0].contains("set MONGO_URI too"), "{faults:?}");
    assert!(!faults.concat().contains("hunter2-hunter2-hunter2"));
    assert!(with(&[("MONGO_URI", " "), ("REDIS_URL", "")]).is_ok_and(|c| c.mongo_uri.is_none()));
}

#[test]
fn trusted_proxies_are_addresses_and_networks() {
    let config = with(&[("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,::1,2001:db8::/32")]);
    let read: Vec<_> = config.expect("fine").trusted_proxies;
    let shown: Vec<_> = read.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["127.0.0.1/32", "10.0.0.0/8", "::1/128", "2001:db8::/32"]
    );
    assert!(with(&[]).is_ok_and(|config| config.trusted_proxies.is_empty()));
    for wrong in [
        "proxy.example",
        "10.0.0.0/33",
        "10.0.0.1,",
        "10.0.0.0/8 ::1",
    ] {
        let faults = faults(&[("TRUSTED_PROXIES", wrong)]);
        assert!(faults[0].contains("10.0.0.0/8"), "{faults:?}");
        assert!(faults[0].contains(&format!("TRUSTED_PROXIES={wrong}")));
    }
}

#[test]
fn the_admin_token_is_hidden() {
    let config = with(&[("ADMIN_TOKEN", "hunter2-hunter2-hunter2")]).expect("fine");
    assert!(!format!("{config:#?}").contains("hunter2-hunter2-hunter2"));
    assert_eq!(
        config.admin_token.as_ref().map(Secret::expose),
        Some("hunter2-hunter2-hunter2")
    );
    let faults = faults(&[("ADMIN_TOKEN", "hunter2-hunter2-hunter2"), ("PORT", "x")]);
    assert!(!faults.concat().contains("hunter2-hunter2-hunter2"));
}

#[test]
fn secrets_are_read_from_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    };
    let exposed = |key: &str, content: &[u8]| {
        let config = with(&[(key, &file("secret", content))]).expect("fine");
        let secrets = [config.admin_token, config.mongo_uri, config.redis_url];
        let mut set = secrets.into_iter().flatten();
        set.next().map(|secret| secret.expose().to_owned())
    };
    for key in ["ADMIN_TOKEN_FILE", "MONGO_URI_FILE"] {
        assert_eq!(
            exposed(key, b"hunter2-hunter2-hunter2"),
            Some("hunter2-hunter2-hunter2".into())
        );
        assert_eq!(
            exposed(key, b"hunter2-hunter2-hunter2\r\n"),
            Some("hunter2-hunter2-hunter2".into())
        );
    }
    let only_the_line_end = exposed("ADMIN_TOKEN_FILE", b" hunter2-hunter2-hunter2 \n\n");
    assert_eq!(
        only_the_line_end,
        Some(" hunter2-hunter2-hunter2 \n".into())
    );
    let redis = file("redis", b"redis://:hunter2-hunter2-hunter2@cache\n");
    let both = [("MONGO_URI", "mongodb://db"), ("REDIS_URL_FILE", &redis)];
    let both = with(&both).expect("fine").redis_url;
    assert_eq!(
        both.expect("set").expose(),
        "redis://:hunter2-hunter2-hunter2@cache"
    );
}

#[test]
fn an_unusable_file_of_a_secret_is_named_with_its_path() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    for (name, content) in [
        ("empty", &b"\n"[..]),
        ("long", &[b'x'; 70_000]),
        ("binary", b"hunter2-hunter2-hunter2\xff"),
        ("good", b"hunter2-hunter2-hunter2"),
    ] {
        std::fs::write(path(name), content).expect("written");
    }
    for (name, why) in [
        ("missing", "No such file or directory"),
        ("", "Is a directory"),
        ("empty", "it is empty"),
        ("long", "more than 65536 bytes"),
        ("binary", "UTF-8"),
    ] {
        for key in ["ADMIN_TOKEN", "MONGO_URI"] {
            let (key, path) = (format!("{key}_FILE"), path(name));
            let faults = faults(&[(&key, &path)]);
            let fault = faults.first().expect("a fault");
            assert!(fault.contains(&format!("{key}={path}")), "{fault}");
            assert!(
                fault.contains(why) && !fault.contains("hunter2-hunter2-hunter2"),
                "{fault}"
            );
        }
    }
    let good = path("good");
    let faults = faults(&[("ADMIN_TOKEN", "x"), ("ADMIN_TOKEN_FILE", &good)]);
    assert!(faults[0].contains("both set"), "{faults:?}");
    let unset = with(&[("ADMIN_TOKEN", " "), ("ADMIN_TOKEN_FILE", &good)]);
    assert!(unset.is_ok_and(|config| config.admin_token.is_some()));
}

#[test]
fn zero_ttl_is_never_and_levels_may_name_modules() {
    let config = with(&[
        ("CLEANUP_TTL_SECONDS", "0"),
        ("LOG_LEVEL", "warn,tallymill::job=debug"),
        ("HOST", "::1"),
    ])
    .expect("fine");
    assert_eq!(config.cleanup_ttl, None);
    assert_eq!(config.log_level, "warn,tallymill::job=debug");
    assert_eq!(config.address().to_string(), "[::1]:3000");
}

#[test]
fn the_example_file_lists_every_setting() {
    let mut expected = String::from(
        "# Settings of tallymill. Copy this file to .env and take the # off the lines to change.\n\
         # The environment wins over .env. A wrong value stops the start and is named.\n",
    );
    for SettingGroup { title, settings } in SETTING_GROUPS {
        expected += &format!("\n## {title}\n");
        for Setting {
            key,
            default,
            unit: _,
            doc,
        } in settings
        {
            let quote = if default.contains(' ') { "\"" } else { "" };
            expected += &format!("\n# {doc}\n# {key}={quote}{default}{quote}\n");
        }
    }
    is_generated(".env.example", &expected);
}

#[test]
fn the_configuration_page_lists_every_setting() {
    let mut expected = String::from(
        "# Configuration\n\n\
         Settings are environment variables, or lines of `.env` in the working directory; the environment wins.\n\
         A wrong value stops the start, and the error names every fault.\n\
         This page and `.env.example` are generated from `src/config/table.rs`\n\
         (`TALLYMILL_SNAPSHOT=write cargo test --lib config::`).\n",
    );
    for SettingGroup { title, settings } in SETTING_GROUPS {
        expected +=
            &format!("\n## {title}\n\n| setting | default | unit | meaning |\n|---|---|---|---|\n");
        for Setting {
            key,
            default,
            unit,
            doc,
        } in settings
        {
            let default = if default.is_empty() {
                "none".into()
            } else {
                format!("`{default}`")
            };
            expected += &format!("| `{key}` | {default} | {unit} | {doc} |\n");
        }
    }
    is_generated("docs/configuration.md", &expected);
}

/// Compares a generated file with its content; with `TALLYMILL_SNAPSHOT=write` replaces it first.
fn is_generated(path: &str, expected: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mode = std::env::vars().find(|(key, _)| key == "TALLYMILL_SNAPSHOT");
    if mode.is_some_and(|(_, mode)| mode == "write") {
        std::fs::write(&file, expected).expect("writes");
    }
    let found = std::fs::read_to_string(&file).expect("a generated file");
    assert_eq!(found, expected, "{path}");
}

#[test]
fn a_broken_line_of_an_env_file_is_named_without_its_value() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(".env");
    assert_eq!(read::env_file(&path), Ok(HashMap::new()));
    std::fs::write(&path, "# PORT=1\nPORT=4000\nREPROCESS_CRON=\"5 0 * * *\"\n").expect("written");
    let read = read::env_file(&path).expect("fine");
    assert_eq!(read["PORT"], "4000");
    assert_eq!(read["REPROCESS_CRON"], "5 0 * * *");
    std::fs::write(
        &path,
        "PORT=1\nADMIN_TOKEN=hunter2-hunter2-hunter2 and more\n",
    )
    .expect("written");
    let fault = read::env_file(&path).expect_err("broken").to_string();
    assert!(
        fault.contains("at line 2") && !fault.contains("hunter2-hunter2-hunter2"),
        "{fault}"
    );
}

#[test]
fn guessable_tokens_and_open_addresses_are_refused() {
    let short = faults(&[("ADMIN_TOKEN", "fifteen-bytes!!")]);
    assert!(short[0].contains("fewer than 16 bytes"), "{short:?}");
    assert!(!short[0].contains("fifteen"), "{short:?}");
    let open = |settings: &[(&str, &str)]| with(settings).expect("fine").open_to_others();
    assert!(open(&[("HOST", "0.0.0.0")]).is_some_and(|why| why.contains("INSECURE_OPEN=true")));
    for settings in [
        &[("HOST", "::1")][..],
        &[("HOST", "0.0.0.0"), ("INSECURE_OPEN", "true")],
        &[("HOST", "::"), ("ADMIN_TOKEN", "sixteen-bytes-..")],
    ] {
        assert_eq!(open(settings), None, "{settings:?}");
    }
}

#[test]
fn names_of_the_service_and_of_other_sites_are_checked() {
    let config = with(&[
        (
            "ALLOWED_HOSTS",
            "Tally.Example.org, 10.0.0.1,2001:db8::1 ,*",
        ),
        (
            "CORS_ORIGINS",
            "https://Wiki.Example.org:443,http://localhost:8080",
        ),
    ])
    .expect("fine");
    let hosts = ["tally.example.org", "10.0.0.1", "[2001:db8::1]", "*"];
    assert_eq!(config.allowed_hosts, hosts);
    let origins = ["https://wiki.example.org", "http://localhost:8080"];
    assert_eq!(config.cors_origins, origins);
    for (key, wrong) in [
        ("ALLOWED_HOSTS", "https://tally.example.org"),
        ("ALLOWED_HOSTS", "tally.example.org:80"),
        ("ALLOWED_HOSTS", "a b"),
        ("CORS_ORIGINS", "wiki.example.org"),
        ("CORS_ORIGINS", "https://wiki.example.org/"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "null"),
    ] {
        let faults = faults(&[(key, wrong)]);
        assert!(
            faults[0].contains(key) && faults[0].contains(wrong),
            "{faults:?}"
        );
    }
}
