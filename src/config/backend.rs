//! Resolves `ENC[handle]` values with a program of the operator.
//!
//! Input: handles. Output: their values. The program is killed at its timeout, at most 1 MiB of its
//! answer is kept, and its output is never quoted in a message.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The handle of `ENC[handle]`.
pub(super) fn handle(text: &str) -> Option<&str> {
    text.trim().strip_prefix("ENC[")?.strip_suffix(']').filter(|handle| !handle.is_empty())
}

#[derive(serde::Deserialize)]
struct Answer {
    value: Option<String>,
    error: Option<String>,
}

/// Resolves all handles in one call. The error says what failed and contains no secret.
pub(super) fn resolve(
    command: &Path,
    arguments: &[String],
    timeout: Duration,
    handles: &[String],
) -> Result<BTreeMap<String, Result<String, String>>, String> {
    let question = serde_json::json!({ "version": "1.0", "secrets": handles }).to_string();
    let answer = exchange(command, arguments, timeout, question)?;
    let mut answers: BTreeMap<String, Answer> = serde_json::from_slice(&answer)
        .map_err(|_| format!("{} did not answer with a JSON map", command.display()))?;
    let value = |handle: &String| match answers.remove(handle) {
        Some(Answer { error: Some(error), .. }) if !error.is_empty() => {
            Err(format!("the backend reports {}", super::value::quoted(&error)))
        }
        Some(Answer { value: Some(value), .. }) if !value.trim().is_empty() => Ok(value),
        Some(_) => Err("the backend returned an empty value".to_owned()),
        None => Err("the backend returned nothing for it".to_owned()),
    };
    let mut value = value;
    Ok(handles.iter().map(|handle| (handle.clone(), value(handle))).collect())
}

/// Runs the program with `question` on its standard input and returns its standard output.
fn exchange(
    command: &Path,
    arguments: &[String],
    timeout: Duration,
    question: String,
) -> Result<Vec<u8>, String> {
    let shown = command.display();
    let mut child = Command::new(command)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{shown} cannot be started ({error})"))?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (done, answer) = mpsc::channel();
    // A slow program blocks this thread, not the caller. The kill below ends the thread too, unless
    // a child of the program keeps the pipe open.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A program that does not read its input may still answer.
        let _unread = input.map(|mut input| input.write_all(question.as_bytes()));
        let read = output.map(|output| output.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes));
        // Fails after the timeout, when the receiver is gone.
        let _late = done.send(read.transpose().map(|_| bytes));
    });
    let answer = answer.recv_timeout(timeout);
    let status = finish(&mut child, answer.is_err());
    match (answer, status) {
        (Err(_), _) => Err(format!("{shown} did not answer within {} s", timeout.as_secs_f64())),
        (Ok(Err(error)), _) => Err(format!("the answer of {shown} cannot be read ({error})")),
        (Ok(Ok(_)), Some(status)) if !status.success() => Err(format!("{shown} failed ({status})")),
        (Ok(Ok(bytes)), _) => Ok(bytes),
    }
}

/// Ends the program. After it has answered, it has one second to exit on its own.
fn finish(child: &mut Child, at_once: bool) -> Option<std::process::ExitStatus> {
    for _ in 0..if at_once { 0 } else { 100 } {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(_) => break,
        }
    }
    // Both fail only if it has already exited.
    let _ended = child.kill();
    let _ended = child.wait();
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn script(body: &str) -> Result<BTreeMap<String, Result<String, String>>, String> {
        let arguments = ["-c".to_owned(), body.to_owned()];
        let handles = ["a".to_owned(), "b".to_owned()];
        resolve(Path::new("/bin/sh"), &arguments, Duration::from_secs(5), &handles)
    }

    #[test]
    fn handles_become_values_and_each_failure_is_its_own() {
        let answer = r#"grep -q '"secrets":\["a","b"\]' && echo '{"a":{"value":"x"},"b":{"value":null,"error":"denied"}}'"#;
        let values = script(answer).unwrap();
        assert_eq!(values["a"], Ok("x".to_owned()));
        assert_eq!(values["b"], Err("the backend reports \"denied\"".to_owned()));
        let values = script(r#"echo '{"a":{"value":" ","error":""}}'"#).unwrap();
        assert_eq!(values["a"], Err("the backend returned an empty value".to_owned()));
        assert_eq!(values["b"], Err("the backend returned nothing for it".to_owned()));
    }

    #[test]
    fn a_backend_that_misbehaves_is_named_and_not_quoted() {
        assert!(script("echo s3cr3t").unwrap_err().contains("a JSON map"));
        assert!(!script("echo s3cr3t").unwrap_err().contains("s3cr3t"));
        assert!(script("exit 3").unwrap_err().contains("failed"));
        let hangs = resolve(
            Path::new("/bin/sh"),
            &["-c".to_owned(), "sleep 60".to_owned()],
            Duration::from_millis(50),
            &["a".to_owned()],
        );
        assert!(hangs.unwrap_err().contains("within 0.05 s"));
        let missing = resolve(Path::new("/nonexistent/x"), &[], Duration::from_secs(1), &[]);
        assert!(missing.unwrap_err().contains("cannot be started"));
    }

    #[test]
    fn only_whole_values_are_handles() {
        assert_eq!(handle(" ENC[a b] "), Some("a b"));
        for text in ["ENC[]", "xENC[a]", "ENC[a", "plain"] {
            assert_eq!(handle(text), None, "{text}");
        }
    }
}
