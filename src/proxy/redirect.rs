//! Plain HTTP beside HTTPS: every request is told where to go, and nothing else happens to it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::handler::raw_target;
use super::serve::{MOST_HEAD, Thread};
use super::view::{Field, View};

/// Answers one request and ends the connection: whoever follows the answer needs another one.
pub(super) async fn serve(thread: Rc<Thread>, stream: TcpStream, peer: SocketAddr) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(thread.gate.settings.head_timeout.std())
        .max_buf_size(MOST_HEAD)
        .keep_alive(false);
    let service = service_fn(move |request| {
        let answer = answer(&thread, &request, peer);
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%peer, %error, "a connection ended");
    }
}

fn answer(thread: &Thread, request: &Request<Incoming>, peer: SocketAddr) -> Response<Empty<Bytes>> {
    let fields: Vec<Field<'_>> =
        request.headers().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect();
    let target = raw_target(request.uri());
    let view =
        View { method: request.method().as_str(), target: &target, fields: &fields, peer, certificate: None };
    let mut answer = Response::new(Empty::new());
    match destination(thread, view) {
        Ok(to) => {
            *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
            answer.headers_mut().insert(LOCATION, to);
        }
        Err(status) => *answer.status_mut() = status,
    }
    if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Where the same thing is over HTTPS. Only hosts of ours: a redirect to any name that a client sends would lend ours to
/// anybody. What was sent with other methods has been readable on the way already, and is not asked for again.
fn destination(thread: &Thread, view: View<'_>) -> Result<HeaderValue, StatusCode> {
    let gate = &thread.gate;
    let asked = view.read(&[]).map_err(|_| StatusCode::BAD_REQUEST)?;
    let snapshot = gate.snapshot.load();
    let origin = if asked.host == gate.portal.host {
        &gate.portal.origin
    } else {
        let route = snapshot.on_host(&asked.host).first().ok_or(StatusCode::MISDIRECTED_REQUEST)?;
        &route.origin
    };
    if !matches!(view.method, "GET" | "HEAD") {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    HeaderValue::try_from(format!("{origin}{}", asked.target.forwarded()))
        .map_err(|_| StatusCode::BAD_REQUEST)
}
