//! A headless Chromium, driven through WebDriver: JSON over HTTP to `chromedriver`.
//!
//! A client of our own, because the whole of what these tests need is a dozen requests; the crates
//! for it bring 38 packages more than the program has.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long [`Browser::wait`] waits: the page asks once a second, and machines are busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// One window with a profile of its own. Dropping it closes everything.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    /// The URL of the session.
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Opens a window of that size.
    #[track_caller]
    pub fn open(width: u32, height: u32) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("no chromedriver: `make test-web` installs what these tests need");
        let stdout = driver.stdout.take().expect("it is piped");
        let port = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split("successfully on port ").nth(1).map(str::to_owned))
            .expect("chromedriver names its port");
        let profile = tempfile::tempdir().expect("a folder");
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(120)));
        let mut browser = Browser {
            driver,
            agent: config.build().into(),
            session: format!("http://127.0.0.1:{}", port.trim_end_matches('.')),
            _profile: profile,
        };
        let arguments = [
            "--headless=new".to_owned(),
            // Tests may run as root in a container.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--no-first-run".to_owned(),
            format!("--user-data-dir={}", browser._profile.path().display()),
            format!("--window-size={width},{height}"),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        }}});
        let started = browser.post("/session", &capabilities);
        let id = started["sessionId"].as_str().expect("a session").to_owned();
        browser.session = format!("{}/session/{id}", browser.session);
        browser
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.session);
        let request = self.agent.post(&url).header("content-type", "application/json");
        let answer = request.send(body.to_string()).expect("chromedriver answers");
        let text = answer.into_body().read_to_string().expect("an answer");
        let mut answer: Value = serde_json::from_str(&text).expect("JSON");
        assert!(answer["value"]["error"].is_null(), "{path} {body}: {text}");
        answer["value"].take()
    }

    /// Opens a page.
    #[track_caller]
    pub fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// What a script returns.
    #[track_caller]
    pub fn js(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of the first element that fits a selector; empty when there is none.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let script =
            format!("return document.querySelector({})?.textContent ?? ''", json!(selector));
        self.js(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a script returns something that is neither false, null, 0 nor empty.
    #[track_caller]
    pub fn wait(&self, what: &str, script: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.js(script);
            let empty = [json!(false), json!(0), json!(""), Value::Null];
            if !empty.contains(&found) {
                return found;
            }
            if Instant::now() > until {
                let page = self.js("return document.body.innerText");
                panic!(
                    "{what}: not within {PATIENCE:?}; the page:\n{}",
                    page.as_str().unwrap_or("")
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until an element has a text that contains another.
    #[track_caller]
    pub fn wait_text(&self, selector: &str, part: &str) {
        let script = format!(
            "return (document.querySelector({})?.textContent ?? '').includes({})",
            json!(selector),
            json!(part)
        );
        self.wait(&format!("{selector} with {part:?}"), &script);
    }

    /// Presses and releases each of these keys.
    #[track_caller]
    pub fn press(&self, keys: &[&str]) {
        let strokes: Vec<Value> = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let actions =
            json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.post("/actions", &actions);
    }

    /// A command of the DevTools protocol.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Shows pages as on a system with that colour scheme, `light` or `dark`.
    #[track_caller]
    pub fn prefer(&self, scheme: &str) {
        let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": feature }));
    }

    /// Makes the page see a window of that size, whatever the smallest of the system is.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        self.post("/se/log", &json!({ "type": kind })).as_array().cloned().unwrap_or_default()
    }

    /// What the console said since the last call, except that a server did not answer.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        let entries = self.log("browser").iter().map(text).collect::<Vec<_>>();
        let away =
            ["net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET", "net::ERR_EMPTY_RESPONSE"];
        entries.into_iter().filter(|text| !away.iter().any(|away| text.contains(away))).collect()
    }

    /// Every address that was asked for since the last call.
    #[track_caller]
    pub fn requests(&self) -> Vec<String> {
        let entries = self.log("performance");
        let sent = entries.iter().filter_map(|entry| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent")
                .then(|| message["params"]["request"]["url"].as_str().map(str::to_owned))?
        });
        sent.collect()
    }

    /// The bytes of a picture of the window, as PNG.
    #[track_caller]
    pub fn picture(&self) -> Vec<u8> {
        let shot = self.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        let text = shot["data"].as_str().expect("a picture");
        base64(text)
    }
}

/// Plain base64, as pictures come in.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text
        .bytes()
        .filter(|byte| *byte != b'=')
        .map(|byte| ALPHABET.iter().position(|known| *known == byte).expect("base64") as u32)
        .collect();
    let group = |digits: &[u32]| {
        let bits =
            digits.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - digits.len()));
        bits.to_be_bytes()[1..digits.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver closes the browser with the session; killed, it would leave it behind.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
