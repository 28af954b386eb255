//! A headless Chromium of its own for each test, driven through chromedriver.

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource, KeyAction, KeyActions},
    elements::Element,
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{http_client, process::eventually};

const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // A page that still scrolls by itself moves what is about to be clicked.
    "--force-prefers-reduced-motion",
    "--lang=en-US",
];
/// Longest wait for the browser to go.
const GOODBYE: Duration = Duration::from_secs(10);
/// Keys by their names in the protocol.
pub(crate) const TAB: char = '\u{E004}';
pub(crate) const ENTER: char = '\u{E007}';

pub(crate) struct Browser {
    pub(crate) page: Client,
    http: reqwest::Client,
    driver: Driver,
}

/// The driver and its session; both end with it.
struct Driver {
    process: Child,
    port: u16,
    session: String,
    // Its profile and log.
    _dir: TempDir,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a browser with further flags.
    pub(crate) async fn start_with(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("driver.log");
        let process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(File::create(&log).expect("a log"))
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver and chromium are installed");
        let port = eventually("the port of chromedriver", async || {
            let text = std::fs::read_to_string(&log).ok()?;
            let (_, rest) = text.split_once("started successfully on port ")?;
            rest.split_once('.')?.0.parse().ok()
        })
        .await;
        let profile = format!("--user-data-dir={}", dir.path().join("profile").display());
        let mut driver = Driver {
            process,
            port,
            session: String::new(),
            _dir: dir,
        };
        let flags = FLAGS.into_iter().chain([profile.as_str()]);
        let flags: Vec<&str> = flags.chain(more.iter().copied()).collect();
        let wanted = json!({
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let page = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted.as_object().expect("an object").clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a browser");
        let session = page.session_id().await.expect("answers");
        driver.session = session.expect("a session");
        let browser = Self {
            page,
            http: http_client(),
            driver,
        };
        browser.resize(1280, 900).await;
        browser
    }

    async fn ask(&self, command: &str, body: Value) -> Value {
        let Driver { port, session, .. } = &self.driver;
        let url = format!("http://127.0.0.1:{port}/session/{session}/{command}");
        let answer = self.http.post(url).json(&body).send().await;
        let body: Value = answer.expect("answers").json().await.expect("JSON");
        assert!(body["value"]["error"].is_null(), "{command}: {body}");
        body["value"].clone()
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask("goog/cdp/execute", body).await;
    }

    pub(crate) async fn resize(&self, width: u64, height: u64) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    pub(crate) async fn scheme(&self, name: &str) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": name }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Moves the reader to a time zone.
    pub(crate) async fn zone(&self, name: &str) {
        let zone = json!({ "timezoneId": name });
        self.devtools("Emulation.setTimezoneOverride", zone).await;
    }

    /// What the console has said of warnings and errors; a breach of the content policy is one.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.ask("se/log", json!({ "type": "browser" })).await;
        let lines = log.as_array().expect("a list").iter();
        lines
            .filter(|line| line["level"] != "INFO" && line["level"] != "DEBUG")
            .map(|line| line["message"].to_string())
            .collect()
    }

    /// Waits until an element is on show.
    pub(crate) async fn see(&self, selector: &str) -> Element {
        eventually(selector, async || {
            let found = self.page.find(Locator::Css(selector)).await.ok()?;
            found.is_displayed().await.ok()?.then_some(found)
        })
        .await
    }

    /// Waits until an element is removed or hidden.
    pub(crate) async fn miss(&self, selector: &str) {
        eventually(&format!("the end of {selector}"), async || {
            match self.page.find(Locator::Css(selector)).await {
                Err(_) => Some(()),
                Ok(found) => found.is_displayed().await.is_ok_and(|on| !on).then_some(()),
            }
        })
        .await;
    }

    pub(crate) async fn click(&self, selector: &str) {
        self.see(selector).await.click().await.expect("clicks");
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        self.see(selector).await.text().await.expect("text")
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        let ran = self.page.execute(script, Vec::new()).await;
        ran.unwrap_or_else(|why| panic!("{script}: {why}"))
    }

    /// Presses a key; the element with the focus receives it.
    pub(crate) async fn press(&self, key: char) {
        let actions = KeyActions::new("keyboard".into())
            .then(KeyAction::Down { value: key })
            .then(KeyAction::Up { value: key });
        let pressed = self.page.perform_actions(actions).await;
        pressed.expect("types");
    }

    /// Presses Tab until an element has the focus.
    pub(crate) async fn tab_to(&self, selector: &str) {
        let there = format!("return document.activeElement.matches({})", json!(selector));
        for _ in 0..60 {
            if self.run(&there).await == true {
                return;
            }
            self.press(TAB).await;
        }
        panic!("{selector} can't be reached by Tab");
    }

    /// Writes the whole page as it looks wide and narrow, light and dark, if asked for by `TALLYMILL_SCREENSHOTS`.
    pub(crate) async fn shoot(&self, name: &str) {
        let Some(dir) = std::env::var_os("TALLYMILL_SCREENSHOTS").map(PathBuf::from) else {
            return;
        };
        std::fs::create_dir_all(&dir).expect("a directory");
        for (size, width, height) in [("wide", 1280, 900), ("narrow", 360, 800)] {
            for scheme in ["light", "dark"] {
                self.scheme(scheme).await;
                self.resize(width, height).await;
                let whole = self
                    .run("return document.documentElement.scrollHeight")
                    .await;
                self.resize(width, whole.as_u64().expect("a height").max(height))
                    .await;
                // Two frames: the chart is redrawn for the new width.
                let drawn = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))";
                self.page
                    .execute_async(drawn, Vec::new())
                    .await
                    .expect("draws");
                let image = self.page.screenshot().await.expect("an image");
                std::fs::write(dir.join(format!("{name}-{size}-{scheme}.png")), image)
                    .expect("writes");
            }
        }
        self.scheme("light").await;
        self.resize(1280, 900).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The browser goes with its session; killing the driver alone would leave it behind.
        let goodbye = || -> std::io::Result<()> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(GOODBYE))?;
            let session = &self.session;
            write!(
                stream,
                "DELETE /session/{session} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            )?;
            stream.read(&mut [0; 64]).map(drop)
        };
        if !self.session.is_empty() {
            drop(goodbye());
        }
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
