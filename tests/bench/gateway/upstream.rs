//! The light upstream: fixed answers over HTTP/1.1 with keep-alive, and nothing else. It runs as a process of its own, so
//! that it costs less than what is measured and can be told apart from it.
//!
//! `/1k` and `/64k` (also below `/n/`) answer with so many bytes, `/probe` with the head of the request, `/count` with the
//! number of requests so far. It believes in GET only and is of no use to anybody else.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
    count: Cell<u64>,
}

/// Serves until it is killed.
pub(crate) fn run(address: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let answers = Rc::new(Answers {
        small: whole(&[b'x'; 1024]),
        large: whole(&vec![b'x'; 65536]),
        count: Cell::new(0),
    });
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answers = Rc::clone(&answers);
            spawn_local(async move {
                // Whoever goes away has got what they wanted.
                let _ = connection(stream, &answers).await;
            });
        }
    })
}

fn whole(body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

async fn connection(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        let read = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let head = buffer.get(..filled).unwrap_or_default();
        // Nobody sends a second request before the answer to the first.
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        filled = 0;
        let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        if path.ends_with(b"/1k") || path.ends_with(b"/64k") {
            answers.count.set(answers.count.get() + 1);
            let large = path.ends_with(b"/64k");
            stream.write_all(if large { &answers.large } else { &answers.small }).await?;
        } else if path == b"/count" {
            stream.write_all(&whole(answers.count.get().to_string().as_bytes())).await?;
        } else {
            stream.write_all(&whole(head)).await?;
        }
    }
}
