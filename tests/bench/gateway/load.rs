//! What asks: wrk, and the script that gives it hosts and cookies.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::machine::LOAD_CORE;

/// Reads lines of a host and a cookie, makes a request of each beforehand, and sends them in an order of chance.
const SCRIPT: &str = r#"
local requests = {}
function init(arguments)
    for line in io.lines(arguments[1]) do
        local host, cookie = line:match("^(%S+) (.*)$")
        requests[#requests + 1] = wrk.format("GET", nil, {Host = host, Cookie = cookie})
    end
    local pause = tonumber(arguments[2])
    math.randomseed(tonumber(arguments[3]))
    if pause > 0 then delay = function() return pause end end
end
function request()
    return requests[math.random(#requests)]
end
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format("\n=%d %d %d %d %d %d %d %d %d\n", summary.requests, summary.duration, summary.bytes,
        errors.connect, errors.read, errors.write, errors.status, latency:percentile(50), latency:percentile(99)))
end
"#;

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) path: &'a str,
    pub(crate) connections: usize,
    /// A file of hosts and cookies.
    pub(crate) lines: &'a Path,
    /// Milliseconds between an answer and the next question of a connection.
    pub(crate) pause: u64,
    pub(crate) seconds: u64,
    pub(crate) seed: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// The program with its script.
pub(crate) struct Wrk(PathBuf);

impl Wrk {
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let script = folder.join("load.lua");
        fs::write(&script, SCRIPT)?;
        Ok(Self(script))
    }

    /// Runs it. Anything but good answers of the right size is an error: what is measured must be right first.
    pub(crate) fn run(&self, load: &Load<'_>) -> anyhow::Result<Seen> {
        let output = Command::new("taskset")
            .args(["-c", LOAD_CORE, "wrk", "-t1", &format!("-c{}", load.connections)])
            .args([&format!("-d{}s", load.seconds), "--timeout", "20s", "-s"])
            .arg(&self.0)
            .arg(format!("{}://{}{}", load.scheme, load.address, load.path))
            .arg("--")
            .arg(load.lines)
            .args([load.pause.to_string(), load.seed.to_string()])
            .output()
            .context("wrk cannot be started")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let told = || format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        let line = said.lines().find_map(|line| line.strip_prefix('=')).with_context(told)?;
        let numbers: Vec<f64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [requests, micros, bytes, connect, read, write, status, p50, p99] = numbers.as_slice() else {
            anyhow::bail!("wrk says {line}");
        };
        ensure!(*requests > 0.0, "no answers at all: {}", told());
        ensure!(connect + read + write + status == 0.0, "not every answer was good: {}", told());
        let least = if load.path.ends_with("/64k") { 65536.0 } else { 1024.0 };
        // A redirect counts as a success there, but is shorter.
        ensure!(bytes / requests > least, "the answers are too short: {}", told());
        Ok(Seen {
            requests: *requests,
            per_second: requests / (micros / 1e6),
            p50: p50 / 1e3,
            p99: p99 / 1e3,
        })
    }
}
