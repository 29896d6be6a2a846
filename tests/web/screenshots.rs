//! Pictures for the documentation, of the real program under the load of `whippet bench`: `make
//! screenshots` writes them into `docs/img/`.

use std::io::Read;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::browser::Browser;
use super::terminal::Terminal;
use crate::support::intake::{Answer, Intake};
use crate::support::program::{Program, Setup, whippet};

/// A picture must not weigh on every clone.
const BYTES_MAX: usize = 200_000;

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bench(program: &Program, arguments: &[&str]) -> Ended {
    let target = format!("udp://{}", program.udp_address());
    let child = whippet()
        .args([
            "bench",
            "--target",
            &target,
            "--duration",
            "600",
            "--warmup",
            "0",
            "--contexts",
            "600",
        ])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ended(child.unwrap())
}

/// Metrics with names and tags as people give them, beside those of the bench, which are random.
fn shop(program: &Program, done: &AtomicBool) {
    let address = program.udp_address();
    let sockets = ["127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0"].map(|own| {
        let socket = UdpSocket::bind(own).unwrap();
        socket.connect(address).unwrap();
        socket
    });
    let mut step = 0_u32;
    while !done.load(Ordering::Acquire) {
        for (at, socket) in sockets.iter().enumerate() {
            step = step.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (roll, service) = (step >> 16, ["checkout", "search", "account"][at]);
            let (endpoint, status) = (roll % 24, [200, 200, 200, 404, 500][(roll % 5) as usize]);
            let wave = f64::from(roll % 40) + 20.0 * f64::from(step >> 20).sin().abs();
            let lines = format!(
                "http.request.duration:{wave:.1}|d|#service:{service},endpoint:/v1/{endpoint},status:{status}\n\
                 checkout.orders:1|c|#service:{service},region:{}\n\
                 db.connections:{}|g|#service:{service},pool:main\n\
                 cache.hits:{}|c|#service:{service},shard:{}\n\
                 login.users:{}|s|#service:{service}",
                ["eu", "us", "ap"][(roll % 3) as usize],
                10 + roll % 30,
                roll % 9,
                roll % 12,
                roll % 500,
            );
            // While the server stands still, the kernel may refuse.
            let _ = socket.send(lines.as_bytes());
        }
        std::thread::sleep(Duration::from_millis(8 + u64::from(step >> 29)));
    }
}

fn write(folder: &Path, name: &str, picture: &[u8]) {
    assert!(picture.len() < BYTES_MAX, "{name}: {} bytes", picture.len());
    std::fs::write(folder.join(name), picture).unwrap();
}

/// The screen of a terminal, drawn by the browser.
fn still(browser: &Browser, lines: &[String]) -> Vec<u8> {
    browser.go("about:blank");
    browser.prefer("light");
    browser.resize(890, 20 * u32::try_from(lines.len()).unwrap() + 24);
    let style =
        "margin:12px;font:14px/20px 'DejaVu Sans Mono',monospace;color:#e6e9ec;background:#14171a";
    let script = format!(
        "document.documentElement.style.background = '#14171a';
         const text = document.createElement('pre');
         text.style.cssText = {};
         text.textContent = {};
         document.body.replaceChildren(text)",
        json!(style),
        json!(lines.join("\n"))
    );
    browser.js(&script);
    browser.picture()
}

/// What `whippet top` shows in a terminal of 100 columns.
fn top(program: &Program) -> Vec<String> {
    let command = format!(
        "stty cols 100 rows 26; exec '{}' top --set admin_address={}",
        whippet().get_program().display(),
        program.admin()
    );
    let mut script = Command::new("script")
        .args(["-q", "-f", "-c", &command, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command `script`, of the package bsdutils or util-linux");
    let mut stdout = script.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stdout.read_to_end(&mut bytes);
        bytes
    });
    std::thread::sleep(Duration::from_secs(12));
    let _ended = Ended(script);
    drop(_ended);
    let mut terminal = Terminal::new(100, 26);
    terminal.write(&reader.join().unwrap());
    terminal.lines()
}

#[test]
#[ignore = "draws the pictures of the documentation: make screenshots"]
fn the_page_and_top_under_load() {
    let folder = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    let folder = folder.expect("SCREENSHOTS names the folder: use make screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    // What the table of senders calls this process.
    std::fs::write("/proc/self/comm", "shop-api").unwrap();
    let intake = Intake::start();
    let setup = Setup::posting_to(&intake)
        .set("bind_host", "127.0.0.1")
        .set("interval", 2)
        .set("admin_address", "127.0.0.1:0")
        .waits_for("admin ");
    let program = setup.start();
    let browser = Browser::open(1_200, 1_320);
    browser.go(&format!("http://{}/", program.admin()));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| shop(&program, &done));
        let drawn = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pictures(&folder, &intake, &program, &browser);
        }));
        done.store(true, Ordering::Release);
        drawn.unwrap();
    });
}

fn pictures(folder: &Path, intake: &Intake, program: &Program, browser: &Browser) {
    let load = bench(program, &["--rate", "4000", "--senders", "2"]);
    std::thread::sleep(Duration::from_secs(20));
    let more = bench(program, &["--rate", "3000"]);
    std::thread::sleep(Duration::from_secs(20));
    drop(more);
    std::thread::sleep(Duration::from_secs(15));
    browser.resize(1_200, 1_320);
    browser.prefer("light");
    browser.wait_text("#sentence", "nothing lost since");
    write(folder, "page-light.png", &browser.picture());

    browser.js("document.getElementById('metrics').scrollIntoView()");
    browser.wait("metrics", "return document.querySelectorAll('#metric-table button').length > 3");
    write(folder, "top.png", &{
        let lines = top(program);
        assert!(lines.iter().any(|line| line.contains("whippet top")), "{lines:#?}");
        let terminal = Browser::open(900, 600);
        still(&terminal, &lines)
    });
    browser.js("[...document.querySelectorAll('#metric-table button')][0].click()");
    browser.wait_text("#details-note", "the last flush");
    browser.wait_text("#tap-note", "seen");
    browser.prefer("dark");
    browser.resize(1_200, 1_000);
    browser.js("document.getElementById('metrics').scrollIntoView()");
    std::thread::sleep(Duration::from_secs(1));
    write(folder, "metric-dark.png", &browser.picture());
    browser.press(&["\u{e00c}"]);

    // An intake that fails, and a reader that stands still for a moment while datagrams come.
    intake.respond(Answer::status(503));
    program.signal("STOP");
    let flood = UdpSocket::bind("127.0.0.5:0").unwrap();
    flood.connect(program.udp_address()).unwrap();
    for _ in 0..20_000 {
        flood.send(&[b'x'; 400]).unwrap();
    }
    program.signal("CONT");
    browser.wait("a red verdict", "return document.getElementById('verdict').className === 'lost'");
    browser.wait_text("#losses", "payloads wait");
    browser.js("scrollTo(0, 0)");
    std::thread::sleep(Duration::from_secs(3));
    browser.resize(420, 900);
    browser.prefer("light");
    std::thread::sleep(Duration::from_secs(2));
    write(folder, "page-narrow.png", &browser.picture());
    drop(load);
}
