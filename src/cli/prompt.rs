//! Asking whoever sits at the terminal.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::Stop;

/// Whether there is somebody to ask.
pub(super) fn somebody() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn show(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// A line as typed, or the default for an empty one.
pub(super) fn line(question: &str, default: &str) -> Result<String, Stop> {
    let hint = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    show(&format!("{question}{hint}: "));
    let mut text = String::new();
    let read = std::io::stdin().lock().read_line(&mut text).unwrap_or_default();
    if read == 0 {
        return Err(Stop::usage("nothing was typed"));
    }
    let text = text.trim();
    Ok(if text.is_empty() { default.to_owned() } else { text.to_owned() })
}

/// Whether it shall be done. Without anybody to ask, it is not.
pub(super) fn sure(question: &str, yes: bool) -> Result<(), Stop> {
    if yes {
        return Ok(());
    }
    if !somebody() {
        return Err(Stop::usage(format!(
            "{question} There is nobody to ask here; say --yes if you are sure"
        )));
    }
    match line(&format!("{question} Type yes"), "no")?.as_str() {
        "yes" | "y" => Ok(()),
        _ => Err(Stop::refused("nothing was done")),
    }
}

/// A new password: typed twice at the terminal without being shown, or one line of the input with `--password-stdin`.
pub(super) fn new_password(from_input: bool) -> Result<Zeroizing<String>, Stop> {
    if from_input {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin()
            .lock()
            .read_line(&mut text)
            .map_err(|error| Stop::usage(format!("cannot read: {error}")))?;
        let bare = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
        return if bare.is_empty() { Err(Stop::usage("the input has no password")) } else { Ok(bare) };
    }
    if !somebody() {
        return Err(Stop::usage(
            "a password is typed at a terminal, or read with --password-stdin; never an argument",
        ));
    }
    let first = hidden("New password: ")?;
    let second = hidden("Again: ")?;
    if *first == *second { Ok(first) } else { Err(Stop::usage("the two differ; nothing was done")) }
}

/// Puts the terminal back as it was, however the typing ended.
struct Quiet(Termios);

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &self.0);
        show("\n");
    }
}

/// Typed without being shown. Letter by letter, so that an interrupt is noticed here and leaves no silent terminal.
fn hidden(question: &str) -> Result<Zeroizing<String>, Stop> {
    let wrong = |error: rustix::io::Errno| Stop::usage(format!("cannot ask at this terminal: {error}"));
    show(question);
    let before = tcgetattr(rustix::stdio::stdin()).map_err(wrong)?;
    let mut quiet = before.clone();
    quiet.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &quiet).map_err(wrong)?;
    let _back = Quiet(before);
    let mut typed = Zeroizing::new(Vec::with_capacity(256));
    for byte in std::io::stdin().lock().bytes() {
        match byte.map_err(|error| Stop::usage(format!("cannot read: {error}")))? {
            b'\r' | b'\n' => break,
            0x03 | 0x04 => return Err(Stop::refused("nothing was done")),
            0x15 => typed.clear(),
            0x08 | 0x7f => {
                // The last letter, which may be several bytes.
                while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if typed.len() < 4_096 => typed.push(byte),
            _ => {}
        }
    }
    match std::str::from_utf8(&typed) {
        Ok("") => Err(Stop::usage("nothing was typed")),
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Stop::usage("that is not text")),
    }
}
