//! A real Chromium, driven as a person drives it: what is clicked has to be there, what is read has to be seen.
//!
//! Whatever the page reports as an error, a violation of its policy among them, fails the test, unless the test expects it.

use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::*;
use thirtyfour::{Capabilities, ChromiumLikeCapabilities};
use tokio::runtime::Runtime;

use crate::node::{Node, has};
use crate::npm;
use crate::process::Process;
use crate::wait::eventually;

/// The size of the window, in pixels, unless a test wants another.
const SIZE: (u32, u32) = (1_100, 760);

/// How often the driver is started until it finds a port.
const DRIVER_ATTEMPTS: usize = 10;

/// Keys that write nothing, as the WebDriver specification names them.
pub const ENTER: &str = "\u{e007}";
/// The key that moves the focus on.
pub const TAB: &str = "\u{e004}";
/// The key that closes things.
pub const ESCAPE: &str = "\u{e00c}";
/// Stays pressed until [`RELEASED`].
pub const CONTROL: &str = "\u{e009}";
/// Stays pressed until [`RELEASED`].
pub const SHIFT: &str = "\u{e008}";
/// Releases what stays pressed.
pub const RELEASED: &str = "\u{e000}";

/// A browser with a profile of its own. It ends with its test.
#[derive(Debug)]
pub struct Browser {
    runtime: Runtime,
    driver: WebDriver,
    /// Where the driver listens.
    url: String,
    expected: Vec<&'static str>,
    _chromedriver: Process,
    _profile: TempDir,
}

/// Returns the selector of the element that tests know by this name.
#[must_use]
pub fn id(name: &str) -> String {
    format!("[data-testid=\"{name}\"]")
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("there is room for temporary files");
        let (chromedriver, port) = start_driver(profile.path());
        let url = format!("http://127.0.0.1:{port}");
        let runtime = Runtime::new().expect("a runtime can be made");
        let driver = runtime.block_on(WebDriver::new(&url, capabilities(profile.path())));
        let driver = driver.expect("Chromium starts");
        // The driver holds the browser; nothing is left of either when it is killed.
        let browser = Self {
            runtime,
            driver,
            url,
            expected: Vec::new(),
            _chromedriver: chromedriver,
            _profile: profile,
        };
        browser.resize(SIZE.0, SIZE.1);
        browser
    }

    /// Starts a browser and opens a node's control panel in it.
    ///
    /// # Panics
    /// If the panel does not open.
    #[must_use]
    pub fn at(node: &Node) -> Self {
        let browser = Self::start();
        browser.open(node);
        browser
    }

    /// Opens a node's control panel.
    ///
    /// # Panics
    /// If it does not open.
    pub fn open(&self, node: &Node) {
        self.visit(node.run(&["open", "--no-open"]).text().trim());
        self.see("nav-rooms");
    }

    /// Goes to an address.
    ///
    /// # Panics
    /// If the browser does not.
    pub fn visit(&self, url: &str) {
        self.run(self.driver.goto(url)).expect("the browser goes there");
    }

    /// Goes to a page of the panel.
    ///
    /// # Panics
    /// If the browser does not.
    pub fn page(&self, hash: &str) {
        self.script("location.hash = arguments[0]", &[json!(hash)]);
    }

    /// Sets the inner size of the window, in pixels.
    ///
    /// # Panics
    /// If the browser does not.
    pub fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Has the system prefer `light` or `dark`.
    ///
    /// # Panics
    /// If the browser does not.
    pub fn prefers(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.cdp("Emulation.setEmulatedMedia", &features);
    }

    /// Waits until an element is there that tests know by this name, and returns its text.
    ///
    /// # Panics
    /// If it does not come.
    #[track_caller]
    pub fn see(&self, name: &str) -> String {
        self.see_where(&id(name), |_| true)
    }

    /// Waits until an element that the selector names has a text that is wanted, and returns it.
    ///
    /// # Panics
    /// If it does not come about.
    #[track_caller]
    pub fn see_where(&self, selector: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        eventually(&format!("{selector} in {}", self.body()), || {
            self.texts(selector).into_iter().find(|text| is_wanted(text))
        })
    }

    /// Waits until nothing is there that the selector names.
    ///
    /// # Panics
    /// If it stays.
    #[track_caller]
    pub fn see_no(&self, selector: &str) {
        eventually(&format!("no {selector}"), || self.texts(selector).is_empty().then_some(()));
    }

    /// The texts of all elements that the selector names.
    ///
    /// # Panics
    /// If the page cannot be read.
    #[must_use]
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let texts = self.script(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText ?? one.textContent)",
            &[json!(selector)],
        );
        serde_json::from_value(texts).expect("texts are strings")
    }

    /// An attribute of the first element that the selector names.
    ///
    /// # Panics
    /// If the page cannot be read.
    #[must_use]
    pub fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        let value = self.script(
            "return document.querySelector(arguments[0])?.getAttribute(arguments[1])",
            &[json!(selector), json!(name)],
        );
        value.as_str().map(str::to_owned)
    }

    /// What stands in a field that tests know by this name.
    ///
    /// # Panics
    /// If the page cannot be read.
    #[must_use]
    pub fn value(&self, name: &str) -> String {
        let value = self.script("return document.querySelector(arguments[0])?.value", &[json!(id(name))]);
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks the element that tests know by this name, once it can be clicked.
    ///
    /// # Panics
    /// If it cannot.
    #[track_caller]
    pub fn click(&self, name: &str) {
        self.click_on(&id(name));
    }

    /// Clicks the first element that the selector names, once it can be clicked.
    ///
    /// # Panics
    /// If it cannot.
    #[track_caller]
    pub fn click_on(&self, selector: &str) {
        eventually(&format!("{selector} can be clicked in {}", self.body()), || {
            self.run(async { self.driver.find(By::Css(selector)).await?.click().await }).ok()
        });
    }

    /// Types into the field that tests know by this name, in place of what stands there.
    ///
    /// # Panics
    /// If it cannot be typed into.
    #[track_caller]
    pub fn fill(&self, name: &str, text: &str) {
        self.press(name, &[CONTROL, "a", RELEASED, text].concat());
    }

    /// Presses keys in the element that tests know by this name.
    ///
    /// # Panics
    /// If it cannot be typed into.
    #[track_caller]
    pub fn press(&self, name: &str, keys: &str) {
        eventually(&format!("{name} takes keys"), || {
            let typed = async { self.driver.find(By::Css(id(name))).await?.send_keys(keys).await };
            self.run(typed).ok()
        });
    }

    /// Presses keys where the focus is.
    ///
    /// # Panics
    /// If nothing takes them.
    pub fn press_anywhere(&self, keys: &str) {
        let typed = async { self.driver.active_element().await?.send_keys(keys).await };
        self.run(typed).expect("something has the focus");
    }

    /// Chooses a file in the file field that tests know by this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn choose_file(&self, name: &str, path: &Path) {
        self.press(name, path.to_str().expect("paths of tests are UTF-8"));
    }

    /// Drops files or folders onto the element that tests know by this name, as a person would from another window.
    ///
    /// # Panics
    /// If there is none.
    pub fn drop_onto(&self, name: &str, paths: &[&Path]) {
        let middle = "const place = document.querySelector(arguments[0]).getBoundingClientRect(); \
                      return [place.x + place.width / 2, place.y + place.height / 2]";
        let middle = self.script(middle, &[json!(id(name))]);
        let (x, y) = (middle.get(0), middle.get(1));
        let data = json!({ "items": [], "files": paths, "dragOperationsMask": 1 });
        for kind in ["dragEnter", "dragOver", "drop"] {
            let event = json!({ "type": kind, "x": x, "y": y, "data": data });
            self.cdp("Input.dispatchDragEvent", &event);
        }
    }

    /// Has what the page saves put into a folder.
    ///
    /// # Panics
    /// If the browser does not, or the path is no UTF-8.
    pub fn saves_into(&self, folder: &Path) {
        let folder = folder.to_str().expect("paths of tests are UTF-8");
        self.cdp("Browser.setDownloadBehavior", &json!({ "behavior": "allow", "downloadPath": folder }));
    }

    /// The title of the page.
    ///
    /// # Panics
    /// If the page cannot be read.
    #[must_use]
    pub fn title(&self) -> String {
        self.run(self.driver.title()).expect("the page has a title")
    }

    /// The address that the browser shows.
    ///
    /// # Panics
    /// If the page cannot be read.
    #[must_use]
    pub fn address(&self) -> String {
        self.run(self.driver.current_url()).expect("the page has an address").to_string()
    }

    /// Loads the page again.
    ///
    /// # Panics
    /// If the browser does not.
    pub fn reload(&self) {
        self.run(self.driver.refresh()).expect("the page is loaded again");
    }

    /// Opens a second tab of the same browser, without the panel in it, and goes there.
    ///
    /// # Panics
    /// If the browser does not.
    pub fn new_tab(&self) {
        let opened = async { self.driver.switch_to_window(self.driver.new_tab().await?).await };
        self.run(opened).expect("the browser opens a tab");
    }

    /// Goes to the tab that was opened as number `index`, from 0.
    ///
    /// # Panics
    /// If there is none.
    pub fn tab(&self, index: usize) {
        let went = async {
            let tabs = self.driver.windows().await?;
            self.driver.switch_to_window(tabs.get(index).cloned().expect("there is such a tab")).await
        };
        self.run(went).expect("the browser goes to the tab");
    }

    /// Runs a script in the page and returns what it returns.
    ///
    /// # Panics
    /// If it fails.
    pub fn script(&self, script: &str, arguments: &[Value]) -> Value {
        let done = self.run(self.driver.execute(script, arguments.to_vec()));
        done.expect("the script runs").json().clone()
    }

    /// Takes a picture of the page.
    ///
    /// # Panics
    /// If it cannot be taken.
    pub fn picture(&self, path: &Path) {
        self.run(self.driver.screenshot(path)).expect("a picture can be taken");
    }

    /// Has axe look at the page: nothing that keeps people out, seriously or critically.
    ///
    /// # Panics
    /// If it finds something.
    #[track_caller]
    pub fn is_accessible(&self) {
        let modules = npm::node_modules().expect("axe can be installed");
        let axe = std::fs::read_to_string(modules.join("axe-core/axe.min.js")).expect("axe is there");
        self.script(&axe, &[]);
        let look = "const done = arguments[0]; axe.run({ resultTypes: ['violations'] }).then((found) => done(found.violations
            .filter((one) => ['serious', 'critical'].includes(one.impact))
            .map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html + node.failureSummary).join(' / ')}`)),
            (error) => done([String(error)]))";
        let found = self.run(self.driver.execute_async(look, Vec::new())).expect("axe runs").json().clone();
        assert_eq!(found, json!([]), "at {}", self.address());
    }

    /// Expects that the page reports errors with this in them.
    pub fn expects(&mut self, error: &'static str) {
        self.expected.push(error);
    }

    /// Sends a command of the developer tools' protocol.
    fn cdp(&self, command: &str, parameters: &Value) {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    /// What the page's console has said since the last time.
    fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "browser" }));
        let errors = entries.as_array().into_iter().flatten().filter(|entry| has(entry, "level", "SEVERE"));
        errors.map(|entry| entry.get("message").map(Value::to_string).unwrap_or_default()).collect()
    }

    /// Asks the driver for what only Chromium has.
    fn post(&self, path: &str, body: &Value) -> Value {
        let session = self.driver.handle().session_id().to_string();
        let url = format!("{}/session/{session}/{path}", self.url);
        let answer: Value = self.runtime.block_on(async {
            let client = reqwest::Client::builder()
                .no_proxy()
                .tls_certs_only([])
                .build()
                .expect("a client can be made");
            let response = client.post(url).json(body).send().await.expect("the driver answers");
            response.json().await.expect("the driver speaks JSON")
        });
        answer.get("value").cloned().unwrap_or_default()
    }

    /// What the page says, for whoever misses something in it.
    fn body(&self) -> String {
        self.texts("body").concat()
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let mut errors = self.console();
        errors.retain(|error| !self.expected.iter().any(|expected| error.contains(expected)));
        drop(self.runtime.block_on(self.driver.clone().quit()));
        assert!(errors.is_empty(), "the page reported {errors:#?}");
    }
}

/// Starts the driver, and returns it with its port. It chooses a port of one kind of address and then wants the same of the
/// other, which somebody else may have.
fn start_driver(profile: &Path) -> (Process, String) {
    for _ in 1..DRIVER_ATTEMPTS {
        let driver = Process::spawn(Command::new("chromedriver").arg("--port=0").env("TMPDIR", profile));
        let port = driver.search(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        if let Ok(port) = port {
            return (driver, port);
        }
    }
    panic!("chromedriver finds no port");
}

fn capabilities(profile: &Path) -> Capabilities {
    let mut capabilities = DesiredCapabilities::chrome();
    let profile = format!("--user-data-dir={}", profile.join("profile").display());
    let mut arguments =
        vec!["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en-GB", &profile];
    if rustix::process::geteuid().is_root() {
        // Chromium's own sandbox refuses to work for root.
        arguments.push("--no-sandbox");
    }
    for argument in arguments {
        capabilities.add_arg(argument).expect("arguments are text");
    }
    capabilities.set("goog:loggingPrefs", json!({ "browser": "ALL" })).expect("it is JSON");
    capabilities.into()
}
