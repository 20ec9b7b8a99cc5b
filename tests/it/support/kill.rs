//! Runs the program itself, as an operator would, and ends it as a power cut would.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::guard::Guard;

const PATIENCE: Duration = Duration::from_secs(30);

/// The program, running. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    guard: Option<Guard>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts Cardea with these arguments.
    pub(crate) fn cardea(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardea"));
        command.args(arguments);
        Self::start(command)
    }

    /// Starts what has environment and folder of its own.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let guard = Guard::new(Command::new("sh"), "", "kill -9 $1", &[&child.id().to_string()]);
        let (sender, lines) = channel();
        forward(child.stdout.take().unwrap(), sender.clone());
        forward(child.stderr.take().unwrap(), sender);
        Self { child, guard: Some(guard), lines, seen: Vec::new() }
    }

    /// The lines that were read so far.
    pub(crate) fn seen(&self) -> &[String] {
        &self.seen
    }

    /// Whether it has ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line, of either output, that contains `wanted`.
    pub(crate) fn line(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(wanted) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no line with {wanted:?} in time: {:#?}", self.seen),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without {wanted:?}: {:#?}", self.seen),
            }
        }
    }

    /// Ends it at once, with no chance to say goodbye.
    pub(crate) fn kill9(mut self) {
        self.end();
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let asked = Command::new("sh").args(["-c", "kill $1", "sh", &self.child.id().to_string()]).status();
        assert!(asked.unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running {PATIENCE:?} after SIGTERM");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.disarm();
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until somebody listens there.
pub(crate) fn wait_for_port(address: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        assert!(Instant::now() < deadline, "nobody listens on {address}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn forward(output: impl Read + Send + 'static, lines: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // The receiver is gone once the test has seen enough; the pipe must be emptied all the same.
            let _ = lines.send(line);
        }
    });
}
