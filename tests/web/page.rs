//! The live page in a real browser. Run by `make test-web`; plain `cargo test` leaves these out.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::browser::Browser;
use crate::admin::server::server;
#[cfg(feature = "global")]
use crate::global::cluster::Cluster;
use crate::support::intake::{Answer, Intake};
use crate::support::program::{KEY, Program, Setup};

/// The page of a server, in a window.
struct Page {
    browser: Browser,
    origin: String,
}

impl Page {
    #[track_caller]
    fn of(program: &Program) -> Self {
        let origin = format!("http://{}", program.admin());
        let page = Page { browser: Browser::open(1_280, 1_400), origin };
        page.browser.go(&format!("{}/", page.origin));
        page.browser.wait_text("#connection", "live");
        page
    }

    /// Nothing was asked from anywhere else, and the console is silent.
    #[track_caller]
    fn is_clean(&self) {
        let requests = self.browser.requests();
        let inside = format!("{}/", self.origin);
        let elsewhere: Vec<&String> = requests
            .iter()
            .filter(|url| {
                !url.starts_with(&inside)
                    && !url.starts_with("chrome://")
                    && !url.starts_with("data:")
            })
            .collect();
        assert!(requests.iter().any(|url| url.contains("/page/snapshot.json")), "{requests:?}");
        assert!(elsewhere.is_empty(), "{elsewhere:?}");
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{complaints:?}");
    }

    /// What a plot shows, as the bytes of its picture.
    #[track_caller]
    fn drawn(&self, plot: &str) -> String {
        let script = format!("return document.querySelector('{plot} canvas')?.toDataURL() ?? ''");
        self.browser.wait(plot, &script).as_str().expect("a picture").to_owned()
    }

    #[track_caller]
    fn open_metric(&self, name: &str) {
        self.browser.js("document.getElementById('metrics').scrollIntoView()");
        let script = format!(
            "const found = [...document.querySelectorAll('#metric-table button')].find((button) => button.textContent === {});
             found?.click();
             return Boolean(found)",
            json!(name)
        );
        self.browser.wait(name, &script);
        self.browser.wait_text("#details-name", name);
    }
}

/// Sends datagrams without pause until it is dropped at the end of the scope.
fn with_load<T>(program: &Program, datagrams: &[&str], work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                datagrams.iter().for_each(|datagram| program.udp(datagram));
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        // Also when the work fails: the scope waits for the load.
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let _done = Done(&done);
        work()
    })
}

#[test]
#[ignore = "needs a browser: make test-web"]
fn it_loads_shows_the_past_and_its_plots_move() {
    let program = server(&[]);
    program.udp("early:1|c\nearly:2|c");
    program.wait_lines(2);
    let page = Page::of(&program);
    let browser = &page.browser;
    browser.wait_text("#sentence", "nothing lost since ");
    assert_eq!(browser.js("return document.getElementById('verdict').className"), "good");
    assert_eq!(browser.text("#verdict .symbol"), "✔");
    assert_eq!(browser.js("return document.title"), "whippet on test-host");
    browser
        .wait_text("#balance-lines", "2 received = 2 recorded + 0 refused + 0 dropped ✔ adds up");
    // Lines that came before the page was open are a step in its plot.
    browser.wait(
        "a plot with its past",
        "return fetch('/page/snapshot.json').then((answer) => answer.json())
             .then(({ history }) => history.rows.length > 2 && history.rows.at(-1)[1] === 2)",
    );
    let before = page.drawn("#plot-lines");
    with_load(&program, &["shop.orders:1|c|#region:eu\nrequest.time:12|h"], || {
        browser.wait(
            "lines per second",
            "return parseFloat(document.getElementById('now-lines').textContent) > 10",
        );
        browser.wait(
            "bytes per second",
            "return parseFloat(document.getElementById('now-bytes').textContent) > 0",
        );
    });
    assert_ne!(page.drawn("#plot-lines"), before);
    browser.wait_text("#senders", "127.0.0.1");
    browser.wait_text("#contexts-now", "of 1,000,000");
    browser.wait_text("#config", "--set hostname");
    browser.wait_text("#log", "admin ");
    for section in ["doors-section", "global-section"] {
        let script = format!("return document.getElementById('{section}').hidden");
        assert_eq!(browser.js(&script), true, "{section} is off");
    }
    page.is_clean();
}

#[test]
#[ignore = "needs a browser: make test-web"]
fn a_flood_turns_the_verdict_red_and_names_the_sysctl() {
    let program = server(&[("dogstatsd_so_rcvbuf", "4096")]);
    let page = Page::of(&program);
    page.browser.wait_text("#sentence", "nothing lost since ");
    // While nobody reads, the receive buffer overflows for certain.
    program.signal("STOP");
    for _ in 0..2_000 {
        program.udp("flood:1|c|#some:tag,another:tag");
    }
    program.signal("CONT");
    page.browser
        .wait("the verdict", "return document.getElementById('verdict').className === 'lost'");
    assert_eq!(page.browser.text("#verdict .symbol"), "✖");
    page.browser.wait_text("#sentence", "datagrams were dropped by the kernel");
    let losses = page.browser.text("#losses");
    assert!(losses.contains("udp 127.0.0.1:"), "{losses}");
    assert!(losses.contains("sysctl -w net.core.rmem_max="), "{losses}");
    page.browser.wait(
        "drops in the plot",
        "return document.getElementById('plot-drops').querySelector('canvas') !== null",
    );
    page.is_clean();
}

#[test]
#[ignore = "needs a browser: make test-web"]
fn a_killed_intake_shows_how_the_queue_grows() {
    let intake = Intake::start();
    let program = server(&[("output", "datadog"), ("dd_url", &intake.url()), ("api_key", KEY)]);
    program.udp("a:1|c");
    let page = Page::of(&program);
    page.browser.wait_text("#endpoints", "202: ");
    page.browser.wait_text("#balance-payloads", "built = ");
    drop(intake);
    let waiting = "return parseFloat(document.getElementById('now-queue').textContent)";
    with_load(&program, &["a:1|c\nb:2|g"], || {
        let first = page.browser.wait("bytes that wait", waiting);
        page.browser.wait_text("#endpoints", "payloads wait");
        page.browser.wait_text("#endpoints", "data is lost in ");
        page.browser.wait_text("#endpoints", "connect: ");
        page.browser.wait_text("#losses", "the queue is full in about ");
        assert_eq!(
            page.browser.js("return document.getElementById('verdict').className"),
            "warning"
        );
        let bytes =
            "const [number, unit] = document.getElementById('now-queue').textContent.split(' ');
             return parseFloat(number) * (unit === 'KiB' ? 1024 : unit === 'MiB' ? 1048576 : 1)";
        let then = page.browser.js(bytes).as_f64().expect("a number");
        page.browser.wait(
            "more that waits",
            &format!("{} > {then}", bytes.replace("return ", "return (") + ")"),
        );
        assert!(first.as_f64() > Some(0.0));
    });
    page.is_clean();
}

/// What would run if it became markup.
const SCRIPT: &str = "<img src=x onerror=window.hacked=1>";

#[test]
#[ignore = "needs a browser: make test-web"]
fn texts_of_clients_stay_text() {
    let program = server(&[]);
    let page = Page::of(&program);
    let browser = &page.browser;
    // This process has markup for a name, and a socket that is connected to the server.
    std::fs::write("/proc/self/comm", "<img src=q>").unwrap();
    let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
    connected.connect(program.udp_address()).unwrap();
    let metric = "<script>window.hacked=1</script>";
    let tag = "<svg onload=window.hacked=1>";
    let datagram = format!("{metric}:1|c|#{tag}:{SCRIPT}\n{SCRIPT}:x|c\n_e{{1,1}}:{SCRIPT}");
    with_load(&program, &[&datagram], || {
        browser.wait_text("#bad", SCRIPT);
        browser.wait_text("#senders", "<img src=q>");
        page.open_metric(metric);
        browser.wait_text("#details-keys", tag);
        browser.wait_text("#details-note", "the last flush");
        browser.wait_text("#details .u-legend, #details-rates .u-legend", "onerror");
        browser.wait_text("#tap-lines", SCRIPT);
        browser.wait_text("#blame", metric);
        browser.js("document.querySelector('#tap-lines button').click()");
        browser.wait_text("#explained", SCRIPT);
        browser.js("const filter = document.getElementById('filter'); filter.value = '<script'; filter.dispatchEvent(new Event('input'))");
        browser.wait_text("#metric-table", metric);
    });
    browser.wait_text("#log", SCRIPT);
    let made = browser.js("return document.querySelectorAll('body script, body img, body svg, body b, body i').length");
    assert_eq!(made, 0);
    assert_eq!(browser.js("return window.hacked ?? null"), Value::Null);
    drop(connected);
    page.is_clean();
}

#[test]
#[ignore = "needs a browser: make test-web"]
fn it_goes_on_when_the_server_comes_back() {
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let setup = Setup::bare()
        .set("interval", 1)
        .set("output", "none")
        .set("admin_address", &address)
        .waits_for("admin ");
    let program = setup.start();
    program.udp("first:1|c\nfirst:1|c\nfirst:1|c");
    let page = Page::of(&program);
    page.browser.wait_text("#balance-lines", "3 received");
    program.terminate();
    page.browser.wait_text("#connection", "✖ no answer since ");
    let program = setup.start();
    page.browser.wait_text("#connection", "live");
    page.browser.wait_text("#balance-lines", "0 received");
    program.udp("second:1|c");
    page.browser.wait_text("#balance-lines", "1 received");
    page.browser.wait_text("#log", "admin ");
    page.is_clean();
}

#[test]
#[ignore = "needs a browser: make test-web"]
fn open_doors_have_a_part_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("apm.socket");
    let program = server(&[("apm_config.receiver_socket", &socket.display().to_string())]);
    let page = Page::of(&program);
    page.browser.wait("doors", "return !document.getElementById('doors-section').hidden");
    let mut stream = UnixStream::connect(&socket).unwrap();
    let request = "POST /v0.6/stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/msgpack\r\nContent-Length: 5\r\n\r\n\u{1}bad\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    page.browser.wait(
        "the route",
        "return [...document.querySelectorAll('#doors tbody tr')].some((row) =>
             row.cells[0].textContent === 'stats' && row.cells[1].textContent === '1'
             && row.cells[2].textContent === '0' && row.cells[3].textContent.startsWith('! 1 ('))",
    );
    page.browser.wait_text("#losses", "requests of a door were refused");
    page.is_clean();
}

/// A sender and an owner on the same brokers: the page of each shows its part of the global tier.
#[cfg(feature = "global")]
#[test]
#[ignore = "needs a browser: make test-web"]
fn the_global_tier_has_a_part_of_its_own() {
    let (cluster, intake) = (Cluster::start(), Intake::start());
    let paged = |setup: Setup| setup.set("admin_address", "127.0.0.1:0").waits_for("admin ");
    let owner = paged(cluster.owner(Setup::posting_to(&intake))).start();
    let sender = paged(cluster.sender().set("hostname", "sender-1")).start();
    let page = Page::of(&owner);
    let browser = &page.browser;
    browser.wait("the tier", "return !document.getElementById('global-section').hidden");
    browser.wait_text("#global-note", "mode own, topic whippet-global; 8 partitions of 8 owned; ");
    browser.wait_text("#global-senders", "no sender was heard yet");
    let row = |what: &str, total: &str, parts: &str| {
        format!(
            "return [...document.querySelectorAll('#global-counts tbody tr')].some((row) =>
                 row.cells[0].textContent.startsWith({}) && row.cells[1].textContent === {}
                 && row.cells[2].textContent.includes({}))",
            json!(what),
            json!(total),
            json!(parts)
        )
    };
    sender.udp("g.hits:1|c");
    cluster.append(3, b"no part at all");
    browser.wait("what it read", &row("Parts read", "2", "1 merged, 1 ! magic"));
    // A zero follows each second, so how many there are is a matter of time.
    browser.wait(
        "what it posted",
        "return [...document.querySelectorAll('#global-counts tbody tr')].some((row) =>
             row.cells[0].textContent.startsWith('Payloads to 127.0.0.1:') && row.cells[1].textContent !== '0'
             && row.cells[2].textContent.includes(' delivered'))",
    );
    browser.wait_text("#global-senders", "sender-1 (");
    browser.wait_text("#losses", "parts of global series were refused: magic");
    page.is_clean();

    let page = Page::of(&sender);
    let browser = &page.browser;
    browser.wait("what it sent", &row("Values sent", "1", "1 acknowledged"));
    browser.wait_text("#global-note", "mode send, topic whippet-global");
    let hidden = "return document.getElementById('global-senders').hidden";
    assert_eq!(browser.js(hidden), true, "only an owner hears senders");
    cluster.down();
    sender.udp("g.hits:1|c");
    browser.wait("what waits", &row("Values sent", "2", "1 waiting"));
    browser.wait_text("#global-note", "! no broker can be reached for ");
    cluster.up();
    browser.wait("what was sent", &row("Values sent", "2", "2 acknowledged"));
    page.is_clean();
}

const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const TAB: &str = "\u{e004}";

#[test]
#[ignore = "needs a browser: make test-web"]
fn everything_can_be_reached_with_the_keyboard() {
    let program = server(&[]);
    program.udp("shop.orders:1|c|#region:eu\ncache.hits:1|c");
    program.wait_lines(2);
    let page = Page::of(&program);
    let browser = &page.browser;
    let focused = |id: &str| {
        let script = format!("return document.activeElement?.id === '{id}'");
        browser.wait(id, &script);
    };
    browser.press(&[TAB]);
    assert_eq!(browser.js("return document.activeElement.className"), "skip");
    browser.press(&["/"]);
    focused("filter");
    browser.press(&["o", "r", "d"]);
    assert_eq!(browser.js("return document.getElementById('filter').value"), "ord");
    browser.wait(
        "one metric",
        "return document.querySelectorAll('#metric-table button').length === 1",
    );
    browser.press(&[ENTER]);
    assert_eq!(browser.js("return document.activeElement.textContent"), "shop.orders");
    browser.press(&[ENTER]);
    focused("details");
    browser.wait_text("#details-keys", "region");
    // The focus stays where it is while tables are filled again.
    program.udp("shop.orders:1|c|#region:us");
    browser.wait_text("#balance-lines", "3 received");
    focused("details");
    browser.press(&[ESCAPE]);
    assert_eq!(browser.js("return document.getElementById('details').hidden"), true);
    assert_eq!(browser.js("return document.activeElement.textContent"), "shop.orders");
    browser.press(&["p"]);
    browser.wait_text("#connection", "paused");
    program.udp("later:1|c");
    browser.press(&["p"]);
    browser.wait_text("#balance-lines", "4 received");
    let unlabelled = browser.js(
        "return [...document.querySelectorAll('input, button')]
             .filter((control) => !control.textContent.trim() && !control.closest('label')).map((control) => control.id)",
    );
    assert_eq!(unlabelled, json!([]));
    page.is_clean();
}

#[test]
#[ignore = "needs a browser: make test-web"]
fn it_is_readable_in_the_dark_and_on_a_telephone() {
    let program = server(&[]);
    program.udp(format!(
        "a.rather.long.name.{}:1|c|#tag:{}\n{}",
        "x".repeat(120),
        "y".repeat(200),
        "z".repeat(200)
    ));
    program.wait_lines(2);
    let page = Page::of(&program);
    let browser = &page.browser;
    let background = "return getComputedStyle(document.body).backgroundColor";
    browser.prefer("light");
    assert_eq!(browser.js(background), "rgb(255, 255, 255)");
    let light = page.drawn("#plot-lines");
    browser.prefer("dark");
    browser.wait("a dark page", &format!("{background} !== 'rgb(255, 255, 255)'"));
    assert_ne!(page.drawn("#plot-lines"), light);
    for width in [320, 400, 800] {
        browser.resize(width, 800);
        browser.wait("bad lines", "return document.querySelector('#bad pre') !== null");
        browser.wait(
            &format!("nothing wider than {width}"),
            "return document.documentElement.scrollWidth <= innerWidth",
        );
    }
    page.is_clean();
}

#[test]
#[ignore = "needs a browser: make test-web"]
fn an_answer_that_fails_is_said_and_refused_lines_have_their_place() {
    let intake = Intake::start();
    intake.respond(Answer::status(403));
    let program = server(&[("output", "datadog"), ("dd_url", &intake.url()), ("api_key", KEY)]);
    let sender = UdpSocket::bind("127.0.0.9:0").unwrap();
    program.udp_from(&sender, "page.views:1|c|@7|#env:prod\npage.views:1|zz\nno type");
    let page = Page::of(&program);
    page.browser.wait(
        "the latest values in the legend",
        "return [...document.querySelectorAll('#plot-refused .u-legend .u-series')].slice(1)
             .every((series) => series.querySelector('.u-value').textContent === '0')",
    );
    // Reasons differ by a sign in the legend, not by colour alone.
    page.browser.wait_text("#plot-refused .u-legend", "━━ missing_type");
    page.browser.wait_text("#plot-refused .u-legend", "╺╸╺╸ unknown_type");
    page.browser.wait_text("#endpoints", "403: ");
    page.browser.wait_text("#losses", "refuses the API key");
    page.browser.wait_text("#bad", "from 127.0.0.9: ");
    let shown = page
        .browser
        .js("return [...document.querySelectorAll('#bad pre')].map((line) => line.textContent)");
    let lines = shown.as_array().unwrap();
    let caret = |line: &Value| {
        let text = line.as_str().unwrap();
        let (line, mark) = text.rsplit_once('\n').unwrap();
        mark.trim_end().ends_with('^') && line.contains("page.views")
    };
    assert!(lines.iter().any(caret), "{lines:?}");
    page.browser.wait_text("#senders", "! ");
    page.is_clean();
}
