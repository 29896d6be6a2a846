//! Runs recorded calls against `ThreadStats` and prints what each flush reported, so that another
//! implementation of the same model can be compared with this one.
//!
//! ```text
//! cargo run --release --example threadstats_script -- FILE.json
//! ```
//!
//! # The file
//!
//! `{"cases": [case, …]}`, where a case is
//!
//! ```text
//! {"id": "A1",                                       unique in the file
//!  "init": {"namespace": "n", "constant_tags": ["t"], "compress_payload": false},
//!  "env": {"DD_ENV": "prod"},                        the whole environment of this case
//!  "start": {"roll_up_interval": 10, "device": "d", "disabled": false, "flush_interval": 10},
//!  "steps": [step, …]}
//! ```
//!
//! `init` and `env` may be left out. `start` holds the arguments of `start` and may be left out for the
//! defaults; `null` means never started. No thread ever flushes. Other keys of a case are comments.
//! A step is one of
//!
//! ```text
//! {"op": "gauge", "args": ["name", 20, 100.0], "kwargs": {"tags": ["a"], "host": "h"}, "repeat": 3}
//! {"op": "flush", "timestamp": 120.0}                "inf" for everything; none, null or 0 for now
//! {"op": "fail_next", "which": ["metrics"]}          also "distributions", "events": what the reporter
//!                                                    refuses during the next flush, and only then
//! {"op": "start", "kwargs": {…}}                     as in the case
//! {"op": "stop"}
//! ```
//!
//! `args`, `kwargs` and `repeat` may be left out. Arguments in their order:
//!
//! | op | arguments |
//! |---|---|
//! | `gauge`, `set`, `histogram`, `distribution`, `timing` | `metric_name`, `value`, `timestamp`, `tags`, `sample_rate`, `host` |
//! | `increment`, `decrement` | the same; `value` is 1 when left out |
//! | `timer`, `timed` | `metric_name`, `sample_rate`, `tags`, `host`: an empty scope |
//! | `event` | `title`, `message`, `alert_type`, `aggregation_key`, `source_type_name`, `date_happened`, `priority`, `tags`, `hostname` |
//!
//! A missing, null or zero timestamp reads the clock. Integers and floats are kept apart: `100` is not
//! `100.0`. `true` and `false` are 1 and 0.
//!
//! # The answer
//!
//! One JSON object on stdout: the id of each case with one entry per `flush` step,
//!
//! ```text
//! {"return": null, "flush_count": 1, "metrics": [series, …], "distributions": […], "events": […]}
//! ```
//!
//! `return` is `false` for a disabled client. A series has the fields `metric`, `points`, `type`,
//! `host`, `device`, `tags` and `interval`, an event those that are not null. Calls that the client
//! refused (an empty name) stand on stderr, counted by reason. A file that is not as described is an
//! error: a message with the case and the number of its step, nothing on stdout, and exit status 1.

mod arguments;
mod runner;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(path), None) = (args.next(), args.next()) else {
        eprintln!("usage: threadstats_script FILE.json");
        return ExitCode::FAILURE;
    };
    let outcome = std::fs::read_to_string(&path)
        .map_err(|error| error.to_string())
        .and_then(|text| runner::run(&text));
    match outcome {
        Ok(outcome) => {
            outcome.notes.iter().for_each(|note| eprintln!("{note}"));
            println!("{}", serde_json::Value::Object(outcome.flushes));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", path.to_string_lossy());
            ExitCode::FAILURE
        }
    }
}
