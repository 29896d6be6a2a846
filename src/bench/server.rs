//! The measured server: started, pinned, watched, stopped.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::procfs;
use super::server_counts::{self, ServerCounts};
use super::sys;
use super::target::Target;

/// A server process of ours.
#[derive(Debug)]
pub struct Server {
    child: Child,
    output: Vec<JoinHandle<ServerOutput>>,
    start_time: Duration,
}

/// What a server left behind.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// How it ended; `None` when it had to be killed.
    pub status: Option<ExitStatus>,
    /// Its line counts, when it prints them.
    pub counts: Option<ServerCounts>,
    /// Its last lines, standard output first.
    pub last_lines: Vec<String>,
}

/// How long a server may take until its socket is bound.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may take to stop; whippet gives up its own deliveries after 8 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Resolution of the time to the bound socket.
const POLL: Duration = Duration::from_micros(200);

impl Server {
    /// Starts `command` (a shell line that becomes the server itself: the shell is replaced by
    /// it) on the processors `cpus` and waits until `target` is bound.
    ///
    /// # Errors
    /// When something else is bound there already, the command cannot start, ends early, or has
    /// not bound the target after ten seconds.
    pub fn start(
        command: &str,
        target: &Target,
        cpus: &[usize],
        output: Option<&Path>,
    ) -> anyhow::Result<Self> {
        if is_bound(target) {
            bail!("something already listens at {target}; stop it or choose another target");
        }
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec {}", target.fill_placeholders(command)));
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(path) = output {
            shell.env("WHIPPET_OUTPUT", format!("jsonl:{}", path.display()));
        }
        let began = Instant::now();
        let mut child =
            spawn_on(cpus, &mut shell).with_context(|| format!("cannot start `{command}`"))?;
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<_>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<_>),
        ];
        let output = pipes
            .into_iter()
            .flatten()
            .map(|p| std::thread::spawn(move || read_output(p)))
            .collect();
        let mut server = Server { child, output, start_time: Duration::ZERO };
        match server.wait_until_bound(target) {
            Ok(()) => {
                server.start_time = began.elapsed();
                Ok(server)
            }
            Err(why) => {
                let said = server.stop().last_lines.join("\n    ");
                Err(why.context(format!(
                    "`{command}` did not start listening at {target}; its last output:\n    {said}"
                )))
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Time from starting the command to its bound socket.
    pub fn start_time(&self) -> Duration {
        self.start_time
    }

    /// True once the process has ended on its own.
    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to stop, waits, kills it after the timeout, and returns its last output.
    pub fn stop(mut self) -> Stopped {
        let asked = Instant::now();
        // An error means that it has ended already; the wait below gets its status.
        let _gone = if self.ended() { Ok(()) } else { sys::terminate(self.pid()) };
        let mut status = None;
        while status.is_none() && asked.elapsed() < STOP_TIMEOUT {
            status = self.child.try_wait().ok().flatten();
            std::thread::sleep(POLL);
        }
        if status.is_none() {
            // Neither can fail for a child that we have not waited for.
            let _killed = self.child.kill();
            let _reaped = self.child.wait();
        }
        let mut stopped = Stopped { status, counts: None, last_lines: Vec::new() };
        for listener in self.output.drain(..) {
            let read = listener.join().unwrap_or_default();
            stopped.counts = stopped.counts.or(read.counts);
            stopped.last_lines.extend(read.last_lines);
        }
        stopped
    }

    fn wait_until_bound(&mut self, target: &Target) -> anyhow::Result<()> {
        let began = Instant::now();
        while !is_bound(target) {
            if let Ok(Some(status)) = self.child.try_wait() {
                bail!("it exited before its socket was bound ({status})");
            }
            if began.elapsed() > START_TIMEOUT {
                bail!("its socket was not bound after {} s", START_TIMEOUT.as_secs());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// A server that is dropped on an error path must not outlive the load generator.
impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _killed = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

/// True when nothing listens at a UDP `target` of this machine for certain: sending there succeeds
/// all the same. With the other transports, connecting fails.
pub fn nothing_listens(target: &Target) -> bool {
    matches!(target, Target::Udp(_)) && procfs::shows_udp() && !is_bound(target)
}

/// True when a socket listens at `target`.
pub fn is_bound(target: &Target) -> bool {
    match target {
        Target::Udp(_) => {
            target.udp_port().is_some_and(|port| !procfs::udp_sockets(port).is_empty())
        }
        Target::Tcp(_) => target.addresses().is_ok_and(|a| TcpStream::connect(&a[..]).is_ok()),
        Target::UnixDatagram(path) => {
            UnixDatagram::unbound().and_then(|socket| socket.connect(path)).is_ok()
        }
        Target::UnixStream(path) => UnixStream::connect(path).is_ok(),
    }
}

/// A child inherits the processors of the thread that starts it, from its first instruction on.
fn spawn_on(cpus: &[usize], command: &mut Command) -> std::io::Result<Child> {
    if cpus.is_empty() {
        return command.spawn();
    }
    let before = sys::allowed_cpus();
    sys::pin(cpus)?;
    let child = command.spawn();
    sys::pin(&before)?;
    child
}

#[derive(Debug, Default)]
struct ServerOutput {
    counts: Option<ServerCounts>,
    last_lines: VecDeque<String>,
}

/// Lines of each stream that are kept to explain a failure.
const LAST_LINES: usize = 20;

/// Bytes of one line that are looked at; the rest of a longer one counts as further lines.
const LINE_BYTES_MAX: u64 = 4_096;

/// Reads a stream to its end in bounded memory.
fn read_output(pipe: Box<dyn Read + Send>) -> ServerOutput {
    let mut reader = BufReader::new(pipe);
    let mut read = ServerOutput::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return read,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        read.counts = server_counts::read(&text).or(read.counts);
        if read.last_lines.len() == LAST_LINES {
            read.last_lines.pop_front();
        }
        read.last_lines.push_back(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp() -> Target {
        "udp://127.0.0.1:0".parse::<Target>().unwrap().with_free_port().unwrap()
    }

    #[test]
    fn a_command_that_ends_is_reported_with_its_last_output() {
        let error = Server::start("sh -c 'echo no such option >&2; exit 3'", &udp(), &[], None)
            .unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("no such option") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn a_taken_target_is_refused_before_anything_starts() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let target: Target = format!("udp://{}", taken.local_addr().unwrap()).parse().unwrap();
        let error = Server::start("sleep 60", &target, &[], None).unwrap_err();
        assert!(format!("{error:#}").contains("already"), "{error:#}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_listens_at_a_udp_port_without_a_socket() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let target: Target = format!("udp://{}", socket.local_addr().unwrap()).parse().unwrap();
        assert!(!nothing_listens(&target));
        drop(socket);
        assert!(nothing_listens(&target));
        assert!(
            !nothing_listens(&"unixgram:///nonexistent/s".parse().unwrap()),
            "connecting fails instead"
        );
    }

    #[test]
    fn output_is_read_in_bounded_memory_and_the_line_counts_are_found() {
        let mut text = "x\n".repeat(100);
        text.push_str(&"y".repeat(10_000));
        text.push_str("\nlines 5 received = 5 recorded + 0 refused + 0 dropped\nbye\n");
        let read = read_output(Box::new(std::io::Cursor::new(text)));
        assert_eq!(read.counts.map(|counts| counts.received), Some(5));
        assert_eq!(read.last_lines.len(), LAST_LINES);
        assert!(read.last_lines.iter().all(|line| line.len() <= LINE_BYTES_MAX as usize));
    }
}
