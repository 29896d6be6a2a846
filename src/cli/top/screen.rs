//! `whippet top` on a terminal: a screen redrawn in place. Made for 80 × 24, uses what there is more.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Row, Sparkline, Table, Wrap};
use ratatui::{DefaultTerminal, Frame};
use serde_json::Value;

use super::super::admin_client::AdminClient;
use super::parts::{doors, overflow, whole, without_client_telemetry};
use super::view::{View, middle};
use crate::text::{bytes, grouped};

/// How often the keyboard is polled.
const KEY_WAIT: Duration = Duration::from_millis(50);

/// Keys and what they do, as `?` shows them.
const HELP: &str = "\
 s      sort metrics by contexts, samples/s, bytes/s
 /      show only what contains a text (Enter keeps it,
        Escape clears it)
 p      pause, and go on
 ?      this help
 q, ^C  quit

 Counts are over the last interval of `--every`.
 Refused counts since the start of the server.
 The clients' own telemetry (datadog.dogstatsd.client.*)
 is hidden unless `--client-telemetry` is given.";

/// Draws until `q`, Escape or ^C, or until the server is gone.
pub(super) fn run(
    server: AdminClient,
    target: String,
    every: f64,
    client_telemetry: bool,
) -> anyhow::Result<()> {
    // Get the first response before switching screens, so that an error is printed plainly.
    let first = server.json(&target)?;
    let (found, answers) = mpsc::channel();
    // Ends when the receiver is gone, or with the program.
    std::thread::Builder::new().name("top".to_owned()).spawn(move || {
        loop {
            let answer = server.json(&target);
            let failed = answer.is_err();
            if found.send(answer).is_err() || failed {
                return;
            }
        }
    })?;
    let mut terminal = ratatui::try_init()?;
    let shown =
        move |top: Value| if client_telemetry { top } else { without_client_telemetry(top) };
    let done = draw_until_quit(&mut terminal, first, &answers, every, shown);
    ratatui::try_restore()?;
    done
}

fn draw_until_quit(
    terminal: &mut DefaultTerminal,
    first: Value,
    answers: &Receiver<anyhow::Result<Value>>,
    every: f64,
    shown: impl Fn(Value) -> Value,
) -> anyhow::Result<()> {
    let mut view = View::default();
    view.take(shown(first));
    loop {
        terminal.draw(|frame| draw(frame, &view, every))?;
        loop {
            if event::poll(KEY_WAIT)? {
                match event::read()? {
                    Event::Key(key) if key.kind == KeyEventKind::Press => {
                        if !press(&mut view, key) {
                            return Ok(());
                        }
                        break;
                    }
                    Event::Resize(..) => break,
                    _ => {}
                }
            }
            if let Ok(answer) = answers.try_recv() {
                view.take(shown(answer?));
                break;
            }
        }
    }
}

/// What a key does; false ends.
fn press(view: &mut View, key: KeyEvent) -> bool {
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        return false;
    }
    if view.typing {
        match key.code {
            KeyCode::Enter => view.typing = false,
            KeyCode::Esc => {
                view.typing = false;
                view.filter.clear();
            }
            KeyCode::Backspace => drop(view.filter.pop()),
            KeyCode::Char(character) => view.type_filter(character),
            _ => {}
        }
        return true;
    }
    match key.code {
        KeyCode::Char('?') => view.help = !view.help,
        KeyCode::Esc if view.help => view.help = false,
        KeyCode::Esc if !view.filter.is_empty() => view.filter.clear(),
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('s') => view.sort = view.sort.next(),
        KeyCode::Char('p') => view.paused = !view.paused,
        KeyCode::Char('/') => view.typing = true,
        _ => {}
    }
    true
}

fn draw(frame: &mut Frame<'_>, view: &View, every: f64) {
    let top = &view.top;
    let alarm = overflow(&top["overflow"]);
    let through_doors = doors(&top["doors"]);
    let [head, door_line, sparks, warning, metrics, senders, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(u16::from(through_doors.is_some())),
        Constraint::Length(2),
        Constraint::Length(if alarm.is_some() { 2 } else { 0 }),
        Constraint::Fill(2),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let title = format!(
        "whippet top: {} contexts of {}, kernel drops {}, every {every} s{}",
        whole(&top["contexts"]["live"]),
        whole(&top["contexts"]["max"]),
        whole(&top["kernel_drops"]),
        if view.paused { "  PAUSED" } else { "" },
    );
    frame.render_widget(Line::from(title).bold(), head);
    frame.render_widget(Line::from(through_doors.unwrap_or_default()), door_line);
    draw_history(frame, sparks, view);
    if let Some(alarm) = alarm {
        let alarm = Paragraph::new(alarm).wrap(Wrap { trim: true });
        frame.render_widget(alarm.style(Style::new().fg(Color::Red)), warning);
    }
    draw_metrics(frame, metrics, view);
    draw_senders(frame, senders, view);
    let keys = match (view.typing, view.filter.as_str()) {
        (true, filter) => format!("filter: {filter}_"),
        (false, "") => format!("q quit  s sort ({})  / filter  p pause  ? help", view.sort.word()),
        (false, filter) => {
            let sort = view.sort.word();
            format!("q quit  s sort ({sort})  / filter ({filter})  p pause  ? help")
        }
    };
    frame.render_widget(Line::from(keys).dim(), foot);
    if view.help {
        let width = frame.area().width.min(60);
        let height = frame.area().height.min(13);
        let area = Rect {
            x: (frame.area().width - width) / 2,
            y: (frame.area().height - height) / 2,
            width,
            height,
        };
        frame.render_widget(Clear, area);
        let block = Block::new().borders(Borders::ALL).title("Keys");
        frame.render_widget(Paragraph::new(HELP).block(block), area);
    }
}

/// The latest figures with their history.
fn draw_history(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let latest = |at: usize| view.history[at].back().copied().unwrap_or_default();
    let waiting = usize::try_from(latest(2)).unwrap_or(usize::MAX);
    let labels = [
        format!("{} lines/s", grouped(latest(0))),
        format!("{} refused/s", grouped(latest(1))),
        format!("queue {}", bytes(waiting)),
    ];
    let columns: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3]).spacing(2).areas(area);
    for ((column, label), history) in columns.into_iter().zip(labels).zip(&view.history) {
        let [text, spark] =
            Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(column);
        frame.render_widget(Line::from(label), text);
        let room = history.len().saturating_sub(usize::from(column.width));
        frame.render_widget(Sparkline::default().data(history.iter().skip(room)), spark);
    }
}

fn table<'a>(
    rows: Vec<Row<'a>>,
    head: impl IntoIterator<Item = &'a str>,
    widths: impl IntoIterator<Item = Constraint>,
) -> Table<'a> {
    let head = Row::new(head.into_iter().map(str::to_owned)).bold();
    Table::new(rows, widths).header(head).block(Block::new().borders(Borders::TOP))
}

/// Numbers stand at the right of their column.
fn right(text: &str, width: usize) -> String {
    format!("{text:>width$}")
}

/// What is left of a line beside columns of these widths, one space between all.
fn left_beside(area: Rect, widths: &[usize]) -> usize {
    usize::from(area.width).saturating_sub(widths.iter().map(|width| width + 1).sum())
}

fn columns(name: usize, widths: &[usize]) -> Vec<Constraint> {
    let length = |width: usize| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX));
    std::iter::once(name).chain(widths.iter().copied()).map(length).collect()
}

fn draw_metrics(frame: &mut Frame<'_>, area: Rect, view: &View) {
    const NUMBERS: [usize; 3] = [9, 10, 11];
    let rest = left_beside(area, &NUMBERS);
    // Names need more than tag keys.
    let (name, keys) = (rest * 3 / 5, (rest * 2 / 5).saturating_sub(1));
    let rows = view.metrics().into_iter().take(usize::from(area.height)).map(|metric| {
        Row::new([
            middle(&metric.name, name),
            right(&grouped(metric.contexts), NUMBERS[0]),
            right(&grouped(metric.samples.round() as u64), NUMBERS[1]),
            right(&grouped(metric.bytes.round() as u64), NUMBERS[2]),
            middle(&metric.tag_keys, keys),
        ])
    });
    let head = ["Metric", " Contexts", " Samples/s", "    Bytes/s", "Values per tag"];
    let widths = columns(name, &[NUMBERS[0], NUMBERS[1], NUMBERS[2], keys]);
    frame.render_widget(table(rows.collect(), head, widths), area);
}

fn draw_senders(frame: &mut Frame<'_>, area: Rect, view: &View) {
    const NUMBERS: [usize; 4] = [9, 11, 9, 9];
    let name = left_beside(area, &NUMBERS);
    let shown = view.senders();
    let rows = shown.iter().take(usize::from(area.height)).map(|(sender, row)| {
        let new = |name: &str| row[name].as_u64().unwrap_or_default();
        Row::new([
            middle(sender, name),
            right(&whole(&row["lines_per_second"]), NUMBERS[0]),
            right(&whole(&row["bytes_per_second"]), NUMBERS[1]),
            right(&whole(&row["refused"]), NUMBERS[2]),
            right(&grouped(new("contexts_new") + new("past_cap")), NUMBERS[3]),
        ])
    });
    let head = ["Sender", "  Lines/s", "    Bytes/s", "  Refused", "  New ctx"];
    frame.render_widget(table(rows.collect(), head, columns(name, &NUMBERS)), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    const LONG: &str = "com.example.payments.gateway.requests.by_customer.duration";

    fn view() -> View {
        let client = "datadog.dogstatsd.client.metrics";
        let top = serde_json::json!({
            "contexts": {"live": 5_000, "max": 10_000},
            "lines_per_second": 1_234.4,
            "refused_per_second": 3.0,
            "queue": {"payloads": 2, "bytes": 4_096, "max": 1 << 20},
            "by_contexts": {
                "names": [{"name": client, "contexts": 5_000}, {"name": LONG, "contexts": 4_999,
                    "tag_keys": [{"key": "user_id", "values": 4_998}]},
                    {"name": "few", "contexts": 1}],
                "others": {"names": 3, "contexts": 7},
            },
            "by_samples": [{"name": "few", "samples_per_second": 1_234.4, "bytes_per_second": 9.0},
                {"name": client, "samples_per_second": 9_999.0}],
            "by_bytes": [{"name": LONG, "samples_per_second": 2.0, "bytes_per_second": 9_876.5}],
            "senders": [{"sender": "pid 4711 uid 1000", "command": "python3",
                "container": "3726184226f5d3147c25fdeab5b60097e378e8a7ea8aa32",
                "packets": 0, "lines_per_second": 5.0, "refused": 12}],
            "overflow": {"at": 0, "names": [{"name": "few", "tag_keys": []}], "sender": "10.0.0.7"},
        });
        let mut view = View::default();
        view.take(without_client_telemetry(top));
        view
    }

    fn shown(view: &View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, view, 2.0)).unwrap();
        terminal.backend().to_string()
    }

    fn key(view: &mut View, code: KeyCode) -> bool {
        press(view, KeyEvent::new(code, KeyModifiers::NONE))
    }

    /// Regression: on 80 columns names and senders were cut at their ends.
    #[test]
    fn everything_fits_80_by_24() {
        let screen = shown(&view());
        for part in [
            "5,000 contexts of 10,000",
            "1,234 lines/s",
            "3 refused/s",
            "queue 4 KiB",
            "█",
            "OUT OF CONTEXTS",
            "com.example.pa…omer.duration     4,999          2       9,877 4998 user_id",
            "few                                  1      1,234           9",
            "python3 (pid 4711 u…000, 3726184226f5) ",
            " 12 ",
            "q quit  s sort (contexts)  / filter  p pause  ? help",
        ] {
            assert!(screen.contains(part), "{part:?} is missing:\n{screen}");
        }
        assert!(!screen.contains("dogstatsd.client"), "{screen}");
    }

    #[test]
    fn open_doors_have_a_line() {
        let mut view = view();
        assert!(!shown(&view).contains("doors:"));
        let mut top = view.top.clone();
        top["doors"] =
            serde_json::json!({"requests_per_second": 1_000, "parts_per_second": 400_000});
        view.take(top);
        let line = "doors: 1,000 requests/s, 0 refused/s; 400,000 parts/s, 0 refused/s, 0 late/s";
        assert!(shown(&view).contains(line), "{}", shown(&view));
    }

    #[test]
    fn keys_sort_filter_pause_help_and_quit() {
        let mut view = view();
        let first = |view: &View| view.metrics()[0].name.clone();
        assert_eq!(first(&view), LONG);
        assert!(key(&mut view, KeyCode::Char('s')));
        assert_eq!(first(&view), "few");
        assert!(shown(&view).contains("sort (samples/s)"));
        for character in "/REQUESTSq".chars() {
            assert!(key(&mut view, KeyCode::Char(character)), "a q is typed, too");
        }
        assert!(shown(&view).contains("filter: REQUESTSq_"));
        key(&mut view, KeyCode::Backspace);
        key(&mut view, KeyCode::Enter);
        assert_eq!((view.metrics().len(), first(&view)), (1, LONG.to_owned()));
        assert_eq!(view.senders().len(), 1);
        assert!(key(&mut view, KeyCode::Esc), "clears the filter");
        assert_eq!(view.metrics().len(), 2);
        key(&mut view, KeyCode::Char('p'));
        assert!(shown(&view).contains("PAUSED"));
        key(&mut view, KeyCode::Char('?'));
        assert!(shown(&view).contains("pause, and go on"));
        assert!(key(&mut view, KeyCode::Esc), "closes the help");
        assert!(!key(&mut view, KeyCode::Char('q')));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        view.typing = true;
        assert!(!press(&mut view, interrupt));
    }
}
