//! Uses each session once, so that all of them are in memory, with assertions that stay good for a while. A process of its
//! own beside what answers, as wrk is: wrk itself can only go by the clock.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::machine::LOAD_CORE;

/// How many connections share the work.
const CONNECTIONS: usize = 32;

/// Has a process do it; says how many sessions there were.
pub(crate) fn all(address: SocketAddr, path: &str, lines: &Path) -> anyhow::Result<f64> {
    let output = Command::new("taskset")
        .args(["-c", LOAD_CORE])
        .arg(std::env::current_exe()?)
        .args(["warm", &address.to_string(), path])
        .arg(lines)
        .output()?;
    ensure!(output.status.success(), "not every session opens: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

/// Does it.
pub(crate) fn run(address: SocketAddr, path: &str, lines: &Path) -> anyhow::Result<usize> {
    let text = fs::read_to_string(lines)?;
    let requests: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(host, cookie)| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n"))
        .collect();
    let count = requests.len();
    let requests = Rc::new(requests);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut shares = tokio::task::JoinSet::new();
        for first in 0..CONNECTIONS {
            shares.spawn_local(share(address, Rc::clone(&requests), first));
        }
        while let Some(ended) = shares.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    })?;
    Ok(count)
}

async fn share(address: SocketAddr, requests: Rc<Vec<String>>, first: usize) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::with_capacity(16 * 1024);
    for request in requests.iter().skip(first).step_by(CONNECTIONS) {
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        while !whole(&answer)? {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the connection was closed");
        }
        ensure!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{request}is answered with {}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(())
}

/// Whether these bytes are a whole answer that says how long it is.
pub(crate) fn whole(answer: &[u8]) -> anyhow::Result<bool> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let text = String::from_utf8_lossy(answer.get(..head).unwrap_or_default()).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("an answer without length")?.trim().parse()?;
    Ok(answer.len() >= head + 4 + length)
}
