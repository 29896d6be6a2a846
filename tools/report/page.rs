//! Rows as a table of a page and as a dated file.

use std::path::Path;
use std::process::Command;

use super::Row;
use super::tools::Error;

const BEGIN: &str = "<!-- report: begin -->";
const END: &str = "<!-- report: end -->";

/// One row of the table.
pub fn line(row: &Row) -> String {
    let missed = if row.reached { "" } else { ", **missed**" };
    format!(
        "| {} | {} | {} | {} | {} | {}{missed} |",
        row.id, row.load, row.floor, row.whippet, row.ratio, row.goal
    )
}

/// Writes what was asked for; an empty session writes nothing.
pub fn write(
    rows: &[Row],
    record: Option<&Path>,
    page: Option<&Path>,
    rounds: usize,
) -> Result<(), Error> {
    if rows.is_empty() {
        return Err("nothing was measured".into());
    }
    let date = output_of("date", &["-u", "+%Y-%m-%d"]);
    if let Some(folder) = record {
        std::fs::create_dir_all(folder)?;
        let mut text =
            String::from("row\tload\tfloor\twhippet\tratio\tto reach\treached\tcommand\n");
        for row in rows {
            let cells = [
                row.id,
                &row.load,
                &row.floor,
                &row.whippet,
                &row.ratio,
                row.goal,
                if row.reached { "yes" } else { "no" },
                &row.command,
            ];
            text += &(cells.join("\t") + "\n");
        }
        std::fs::write(folder.join(format!("{date}.tsv")), text)?;
    }
    let Some(page) = page else { return Ok(()) };
    let text = std::fs::read_to_string(page)?;
    let (head, rest) = text.split_once(BEGIN).ok_or("the page has no mark of its table")?;
    let (_, tail) = rest.split_once(END).ok_or("the page has no end of its table")?;
    let mut table = format!(
        "\n{date}, {}, {} processors, Linux {}, revision {}, {rounds} pairs a row.\n\n\
         | row | load | floor | whippet | ratio | to reach |\n|---|---|---|---|---|---|\n",
        processor(),
        std::thread::available_parallelism()?,
        output_of("uname", &["-r"]),
        output_of("git", &["rev-parse", "--short", "HEAD"]),
    );
    rows.iter().for_each(|row| table += &(line(row) + "\n"));
    std::fs::write(page, format!("{head}{BEGIN}\n{table}\n{END}{tail}"))?;
    Ok(())
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    model
        .map_or("unknown processor".into(), |name| name.trim_start_matches([' ', '\t', ':']).into())
}

fn output_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
