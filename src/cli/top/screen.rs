//! `whippet top` on a terminal: a screen redrawn in place.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Row, Table, Wrap};
use ratatui::{DefaultTerminal, Frame};
use serde_json::Value;

use super::super::admin_client::AdminClient;
use super::parts::{headline, overflow, rows, sender, tag_keys, text, whole};

/// How often the keyboard is polled.
const KEY_WAIT: Duration = Duration::from_millis(50);

/// Draws until `q`, Escape or ^C, or until the server is gone.
pub(super) fn run(server: AdminClient, target: String, every: f64) -> anyhow::Result<()> {
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
    let done = draw_until_quit(&mut terminal, first, &answers, every);
    ratatui::try_restore()?;
    done
}

fn draw_until_quit(
    terminal: &mut DefaultTerminal,
    mut top: Value,
    answers: &Receiver<anyhow::Result<Value>>,
    every: f64,
) -> anyhow::Result<()> {
    loop {
        terminal.draw(|frame| draw(frame, &top, every))?;
        loop {
            if event::poll(KEY_WAIT)? {
                match event::read()? {
                    Event::Key(key) if is_quit(key) => return Ok(()),
                    Event::Resize(..) => break,
                    _ => {}
                }
            }
            if let Ok(answer) = answers.try_recv() {
                top = answer?;
                break;
            }
        }
    }
}

fn is_quit(key: KeyEvent) -> bool {
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

fn draw(frame: &mut Frame<'_>, top: &Value, every: f64) {
    let alarm = overflow(&top["overflow"]);
    let [head, warning, contexts, sent, senders] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(if alarm.is_some() { 2 } else { 0 }),
        Constraint::Fill(2),
        Constraint::Fill(2),
        Constraint::Fill(1),
    ])
    .areas(frame.area());
    let title = format!("{}; every {every} s, q ends", headline(top));
    frame.render_widget(Line::from(title).bold(), head);
    if let Some(alarm) = alarm {
        let alarm = Paragraph::new(alarm).wrap(Wrap { trim: true });
        frame.render_widget(alarm.style(Style::new().fg(Color::Red)), warning);
    }
    draw_contexts(frame, contexts, &top["by_contexts"]);
    let [samples, bytes] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(sent);
    draw_sent(frame, samples, "Samples/s", &top["by_samples"], "samples_per_second");
    draw_sent(frame, bytes, "Bytes/s", &top["by_bytes"], "bytes_per_second");
    draw_senders(frame, senders, &top["senders"]);
}

fn table<'a>(
    rows: Vec<Row<'a>>,
    head: impl IntoIterator<Item = &'a str>,
    widths: impl IntoIterator<Item = Constraint>,
) -> Table<'a> {
    let head = Row::new(head.into_iter().map(str::to_owned)).bold();
    Table::new(rows, widths).header(head).block(Block::new().borders(Borders::TOP))
}

fn draw_contexts(frame: &mut Frame<'_>, area: Rect, ranking: &Value) {
    let mut shown: Vec<Row<'_>> = rows(&ranking["names"])
        .iter()
        .map(|row| Row::new([whole(&row["contexts"]), text(&row["name"]), tag_keys(row)]))
        .collect();
    let others = &ranking["others"];
    if others["names"].as_u64() > Some(0) {
        let name = format!("(other {} metrics)", others["names"]);
        shown.push(Row::new([whole(&others["contexts"]), name, String::new()]));
    }
    let head = ["Contexts", "Metric name", "(number of unique values for each tag)"];
    let widths = [Constraint::Length(11), Constraint::Fill(1), Constraint::Fill(2)];
    frame.render_widget(table(shown, head, widths), area);
}

fn draw_sent(frame: &mut Frame<'_>, area: Rect, what: &str, list: &Value, figure: &str) {
    let shown = rows(list).iter().map(|row| Row::new([whole(&row[figure]), text(&row["name"])]));
    let widths = [Constraint::Length(13), Constraint::Fill(1)];
    frame.render_widget(table(shown.collect(), [what, "Metric name"], widths), area);
}

fn draw_senders(frame: &mut Frame<'_>, area: Rect, senders: &Value) {
    let shown = rows(senders).iter().map(|row| {
        let count = |name: &str| whole(&row[name]);
        Row::new([
            count("packets_per_second"),
            count("lines_per_second"),
            count("bytes_per_second"),
            count("refused"),
            count("contexts_new"),
            count("past_cap"),
            sender(row),
        ])
    });
    let head = ["Packets/s", "Lines/s", "Bytes/s", "Refused", "New contexts", "Past cap", "Sender"];
    let widths = [11, 11, 13, 10, 13, 11].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Fill(1)]);
    frame.render_widget(table(shown.collect(), head, widths), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn every_ranking_is_on_the_screen_even_a_small_one() {
        let top = serde_json::json!({
            "contexts": {"live": 5_000, "max": 10_000},
            "by_contexts": {
                "names": [{"name": "logins", "contexts": 4_999,
                    "tag_keys": [{"key": "user_id", "values": 4_998}]}],
                "others": {"names": 3, "contexts": 7},
            },
            "by_samples": [{"name": "many", "samples_per_second": 1_234.4}],
            "by_bytes": [{"name": "long", "bytes_per_second": 9_876.5}],
            "senders": [{"sender": "10.0.0.7", "packets_per_second": 5.0}],
            "overflow": {"at": 0, "names": [{"name": "logins", "tag_keys": []}], "sender": "10.0.0.7"},
        });
        let mut terminal = Terminal::new(TestBackend::new(90, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &top, 2.0)).unwrap();
        let shown = terminal.backend().to_string();
        for part in [
            "5,000 contexts of 10,000",
            "OUT OF CONTEXTS",
            "4,999       logins",
            "4998 user_id",
            "(other 3 metrics)",
            "1,234         many",
            "9,877         long",
            "10.0.0.7",
        ] {
            assert!(shown.contains(part), "no {part:?} on\n{shown}");
        }
        let mut tiny = Terminal::new(TestBackend::new(3, 2)).unwrap();
        tiny.draw(|frame| draw(frame, &top, 2.0)).unwrap();
    }
}
