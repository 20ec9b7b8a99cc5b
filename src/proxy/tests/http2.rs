//! Streams of HTTP/2 that nobody reads: each ends alone, when the right to it does or when its client takes nothing.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::{Request, Response};

use super::house::{House, Plan, pause, reply};
use crate::domain::Span;
use crate::proxy::Settings;
use crate::sys::Stopwatch;

/// What "within a second" is held to.
const BOUND: Duration = Duration::from_millis(1500);

/// Has the upstream send without end below `/open/` and `/reports/`, and one word elsewhere.
fn drip(house: &House) {
    house.upstream.behave(|seen, stream, _| {
        if seen.line.contains("/public/") {
            return reply(stream, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere");
        }
        let _ = reply(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while stream.write_all(b"4\r\ntick\r\n").is_ok() {
            pause(5);
        }
        false
    });
}

/// A client that takes so many bytes of each answer, and then no more.
async fn client(address: SocketAddr, window: u32) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (client, connection) = builder.initial_window_size(window).handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}

async fn ask(client: &SendRequest<Bytes>, target: &str, token: &str) -> Response<h2::RecvStream> {
    let request = Request::builder()
        .uri(format!("http://app.example{target}"))
        .header("cookie", format!("cardea={token}"))
        .body(())
        .unwrap();
    let mut ready = client.clone().ready().await.unwrap();
    let answer = ready.send_request(request, true).unwrap().0.await.unwrap();
    assert_eq!(answer.status(), 200, "{target}");
    answer
}

/// How a stream ends of which nothing is taken.
async fn ended(answer: Response<h2::RecvStream>) -> (Option<Reason>, Duration) {
    let begun = Stopwatch::start();
    let mut body = answer.into_body();
    let end = async {
        loop {
            match body.data().await {
                // It is not given back: no more may be sent.
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.reason(),
                None => return None,
            }
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(8), end).await.expect("it does not end");
    (reason, begun.elapsed())
}

#[test]
fn proxy_17_sess_09_a_stream_that_nobody_reads_ends_with_its_session_and_no_other_does() {
    let house = House::new();
    drip(&house);
    let (session, token) = house.signed_in(house.ada, "app.example");
    let (_, other) = house.signed_in(house.ada, "app.example");
    let (mine, others) = house.runtime.block_on(async {
        let client = client(house.address, 40).await;
        let mine = ask(&client, "/reports/x", &token).await;
        let others = ask(&client, "/open/x", &other).await;
        // Both are full by now.
        tokio::time::sleep(Duration::from_millis(500)).await;
        (mine, (others, client))
    });
    house.end(session);
    house.runtime.block_on(async {
        let (reason, after) = ended(mine).await;
        assert!(reason == Some(Reason::CANCEL) && after < BOUND, "{reason:?} after {after:?}");
        let (others, client) = others;
        let mut body = others.into_body();
        for _ in 0..50 {
            let data = body.data().await.expect("another session's stream ended").unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        ask(&client, "/public/x", "").await;
    });
}

#[test]
fn proxy_20_a_stream_whose_client_takes_nothing_ends_alone() {
    let house = House::with(Plan {
        settings: Settings { write_timeout: Span::millis(700), ..Settings::default() },
        ..Plan::default()
    });
    drip(&house);
    let (_, token) = house.signed_in(house.ada, "app.example");
    house.runtime.block_on(async {
        let client = client(house.address, 40).await;
        let stalled = ask(&client, "/open/x", &token).await;
        let mut slow = ask(&client, "/open/y", &token).await.into_body();
        let (reason, after) = {
            let ended = ended(stalled);
            tokio::pin!(ended);
            loop {
                tokio::select! {
                    ended = &mut ended => break ended,
                    // Slow is not stalled.
                    () = tokio::time::sleep(Duration::from_millis(100)) => {
                        let data = slow.data().await.expect("a slow reader was cut off").unwrap();
                        slow.flow_control().release_capacity(data.len()).unwrap();
                    }
                }
            }
        };
        assert_eq!(reason, Some(Reason::CANCEL), "after {after:?}");
        for _ in 0..20 {
            let data = slow.data().await.expect("a slow reader was cut off").unwrap();
            slow.flow_control().release_capacity(data.len()).unwrap();
        }
        ask(&client, "/public/x", "").await;
    });
}

#[test]
fn time_to_answer_is_counted_once_and_what_breaks_off_is_no_success() {
    let house = House::new();
    house.upstream.behave(|seen, stream, _| {
        if seen.line.contains("/slow") {
            pause(4500);
            return false;
        }
        let _ = reply(stream, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort");
        false
    });
    house.runtime.block_on(async {
        let client = client(house.address, 1 << 20).await;
        let begun = Stopwatch::start();
        let request = Request::builder().uri("http://app.example/public/slow").body(()).unwrap();
        let answer =
            client.clone().ready().await.unwrap().send_request(request, true).unwrap().0.await.unwrap();
        let after = begun.elapsed();
        // The route's limit is three seconds.
        assert_eq!(answer.status(), 504);
        assert!(after < Duration::from_millis(4300), "{after:?}");
        let request = Request::builder().uri("http://app.example/public/short").body(()).unwrap();
        let answer = client.clone().ready().await.unwrap().send_request(request, true).unwrap().0.await;
        // The end may overtake the beginning.
        let reason = match answer {
            Ok(answer) => ended(answer).await.0,
            Err(error) => error.reason(),
        };
        assert_eq!(reason, Some(Reason::INTERNAL_ERROR));
    });
    let said = super::house::log();
    let line = said.lines().rfind(|line| line.contains("/public/short")).unwrap_or_default().to_owned();
    assert!(line.contains("broke-off"), "{line}");
}

#[test]
fn an_answer_arrives_although_its_request_was_never_finished() {
    let house = House::new();
    house.runtime.block_on(async {
        let client = client(house.address, 1 << 20).await;
        let request = Request::builder().method("POST").uri("http://app.example/reports/x").body(()).unwrap();
        let (answer, mut body) = client.clone().ready().await.unwrap().send_request(request, false).unwrap();
        let sending = tokio::spawn(async move {
            for _ in 0..40 {
                body.reserve_capacity(16 * 1024);
                match std::future::poll_fn(|cx| body.poll_capacity(cx)).await {
                    Some(Ok(room)) if body.send_data(vec![b'x'; room].into(), false).is_ok() => {}
                    _ => return false,
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            body.send_data(Bytes::new(), true).is_ok()
        });
        assert_eq!(answer.await.unwrap().status(), 401);
        assert!(sending.await.unwrap(), "the stream was taken back while the client was sending");
    });
}
