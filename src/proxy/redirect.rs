//! Plain HTTP beside HTTPS: every request is told where to go, and nothing else happens to it, but for the questions of an
//! authority that wants proof of a host before it signs a certificate (ACME HTTP-01, RFC 8555 §8.3).

use std::convert::Infallible;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::answers::{self, Answer};
use super::handler::raw_target;
use super::serve::{MOST_HEAD, Thread};
use super::view::{Field, View};
use crate::ui::headers;

/// Where authorities ask.
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// The most bytes of an answer to them, and of a token.
const MOST_PROOF: u64 = 1024;
const MOST_TOKEN: usize = 128;

/// Answers one request and ends the connection: whoever follows the answer needs another one.
pub(super) async fn serve(
    thread: Rc<Thread>,
    stream: TcpStream,
    peer: SocketAddr,
    challenges: Option<Arc<Path>>,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(thread.gate.settings.head_timeout.std())
        .max_buf_size(MOST_HEAD)
        .keep_alive(false);
    let service = service_fn(move |request| {
        let answer = answer(&thread, &request, peer, challenges.as_deref());
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%peer, %error, "a connection ended");
    }
}

fn answer(
    thread: &Thread,
    request: &Request<Incoming>,
    peer: SocketAddr,
    challenges: Option<&Path>,
) -> Answer {
    let fields: Vec<Field<'_>> =
        request.headers().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect();
    let target = raw_target(request.uri());
    let view =
        View { method: request.method().as_str(), target: &target, fields: &fields, peer, certificate: None };
    if let Some(folder) = challenges
        && let Some(proof) = proof(&view, folder)
    {
        return plain(StatusCode::OK, proof);
    }
    match destination(thread, view) {
        Ok(to) => {
            let words = format!("This address is served over HTTPS: {}\n", to.to_str().unwrap_or_default());
            let mut answer = plain(StatusCode::PERMANENT_REDIRECT, words);
            answer.headers_mut().insert(LOCATION, to);
            answer
        }
        Err(status) => {
            let words = match status {
                StatusCode::METHOD_NOT_ALLOWED => {
                    "Only GET and HEAD are sent on from plain HTTP. Send this to the https:// address.\n"
                }
                StatusCode::MISDIRECTED_REQUEST => "No app has this address.\n",
                _ => "The request cannot be read.\n",
            };
            let mut answer = plain(status, words.to_owned());
            if status == StatusCode::METHOD_NOT_ALLOWED {
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            answer
        }
    }
}

/// An answer in plain text, after which the connection ends.
fn plain(status: StatusCode, words: String) -> Answer {
    let mut answer = answers::answer(status.as_u16(), words, &headers::DATA);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answers::close(&mut answer);
    answer
}

/// What a client of ACME has left for an authority that asks for a token: a plain file of that name, directly in the folder. A
/// token has no character that could lead anywhere else (RFC 8555 §8.3), and a link is not followed.
fn proof(view: &View<'_>, folder: &Path) -> Option<String> {
    let token = view.target.strip_prefix(CHALLENGES)?;
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !matches!(view.method, "GET" | "HEAD")
        || token.is_empty()
        || token.len() > MOST_TOKEN
        || !token.bytes().all(of_token)
    {
        return None;
    }
    let file = folder.join(token);
    // Neither a link nor a pipe, at which reading would wait.
    let known = std::fs::symlink_metadata(&file).ok()?;
    if !known.is_file() || known.len() > MOST_PROOF {
        return None;
    }
    let mut text = String::new();
    std::fs::File::open(&file).ok()?.take(MOST_PROOF).read_to_string(&mut text).ok()?;
    tracing::info!(token, peer = %view.peer, "an authority was shown the proof of a host");
    Some(text)
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
