//! Cleans up behind the tests however they end: passed, panicked, interrupted or killed.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A shell that waits on a pipe from this process and then runs its script. The pipe closes when this value
/// is dropped and when the process is gone for whatever reason; values in statics need nothing more.
pub(crate) struct Guard {
    shell: Child,
}

impl Guard {
    /// `begin` runs at once and `end` at the end, in one shell, with `arguments` as `$1`, `$2` and so on.
    /// `wrapped` is what to start in place of `sh`, for those who want it under another name.
    pub(crate) fn new(mut wrapped: Command, begin: &str, end: &str, arguments: &[&str]) -> Self {
        // Ctrl-C reaches the whole group of the terminal, and the last one to leave must not go first.
        let script = format!("{begin}\ntrap '' HUP INT TERM\nread -r _\n{end}");
        let shell = wrapped
            .args(["-c", &script, "guard"])
            .args(arguments)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { shell }
    }

    /// Lets go without running the script.
    pub(crate) fn disarm(mut self) {
        self.shell.kill().unwrap();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing to do about a failure: the script has begun or the shell is gone.
        let _ = self.shell.wait();
    }
}
