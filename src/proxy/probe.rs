//! Asks addresses whether they are well, as their routes say. Runs on the control plane's runtime, over the same guarded and
//! verified connections as requests.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::Gate;
use super::control::BoxError;
use super::pipe::Pipe;
use super::upstream::connect;
use crate::access::{Route, Snapshot};
use crate::domain::Slug;
use crate::domain::address::Author;
use crate::domain::pool::HealthCheck;
use crate::domain::route::{Protocol, Transport, Upstream};

/// How many addresses are asked at a time.
const AT_A_TIME: usize = 32;
/// How often it is looked whether other addresses are to be asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The most bytes of the head of an answer.
const MOST_HEAD: usize = 64 * 1024;
const MOST_HEAD_HTTP2: u32 = 64 * 1024;

/// Asks every address of every route with a health check, for ever.
pub async fn probe(gate: Arc<Gate>) {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut running: HashMap<Asked, Running> = HashMap::new();
    let mut version = None;
    loop {
        let snapshot = gate.snapshot.load_full();
        if version != Some(snapshot.version) {
            version = Some(snapshot.version);
            let wanted: HashSet<Asked> = wanted(&snapshot).collect();
            let over: Vec<Asked> = running.keys().filter(|asked| !wanted.contains(asked)).cloned().collect();
            for asked in over {
                if let Some(mut task) = running.remove(&asked) {
                    task.0.abort();
                    // It says nothing more about the address; whoever asks it now may.
                    let _ = (&mut task.0).await;
                }
                gate.health.of(&asked.route, &asked.to).checked(false);
            }
            for asked in wanted {
                running.entry(asked).or_insert_with_key(|asked| {
                    let watching = watch(Arc::clone(&gate), asked.clone(), Arc::clone(&places));
                    Running(tokio::spawn(watching))
                });
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Ends with whoever holds it.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who is asked, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    route: Slug,
    to: Upstream,
    author: Author,
    /// The host that it hears.
    host: String,
    check: HealthCheck,
}

fn wanted(snapshot: &Snapshot) -> impl Iterator<Item = Asked> {
    let of = |route: &Arc<Route>| {
        let spec = &route.spec;
        let asked = |to: &Upstream, check: &HealthCheck| Asked {
            route: spec.name.clone(),
            to: to.clone(),
            author: spec.pool.author,
            host: if spec.pass_host { spec.host.to_string() } else { to.authority() },
            check: check.clone(),
        };
        let check = spec.pool.health.as_ref();
        check.iter().flat_map(|check| spec.to.iter().map(|to| asked(to, check))).collect::<Vec<_>>()
    };
    snapshot.routes().iter().flat_map(of)
}

/// Asks one address for as long as it is to be asked.
async fn watch(gate: Arc<Gate>, asked: Asked, places: Arc<Semaphore>) {
    let vitals = gate.health.of(&asked.route, &asked.to);
    let mut tally = Tally::default();
    loop {
        let answer = {
            let Ok(_place) = places.acquire().await else { return };
            let asking = tokio::time::timeout(asked.check.timeout.std(), ask(&gate, &asked));
            asking.await.unwrap_or_else(|_| Err("it took too long".into()))
        };
        let answer = answer.and_then(|status| -> Result<(), BoxError> {
            let good = asked.check.good(status);
            if good { Ok(()) } else { Err(format!("it answered {status}").into()) }
        });
        if let Some(well) = tally.counts(answer.is_ok(), &asked.check) {
            vitals.checked(!well);
            let (route, to) = (&asked.route, &asked.to);
            match answer {
                Ok(()) => tracing::info!(route.id = %route, address = %to, "an address is well"),
                Err(why) => tracing::warn!(route.id = %route, address = %to, %why, "an address is unhealthy"),
            }
        }
        tokio::time::sleep(asked.check.every.std()).await;
    }
}

/// Asks once. The status of the answer; its body is not waited for.
async fn ask(gate: &Gate, asked: &Asked) -> Result<u16, BoxError> {
    let (within, now) = (asked.check.timeout.std(), gate.clock.now());
    let stream = connect(gate, &asked.to, asked.author, within, now).await?;
    match asked.to.protocol {
        Protocol::Http1 => http1(stream, asked).await,
        Protocol::Http2 => http2(stream, asked).await,
    }
}

async fn http1(stream: Pipe, asked: &Asked) -> Result<u16, BoxError> {
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_buf_size(MOST_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let request = Request::get(&asked.check.path)
        .header("host", &asked.host)
        .header("cardea-probe", "1")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())?;
    let (mut answer, mut connection) = (pin!(sender.send_request(request)), pin!(connection));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // What came before its end may be the answer.
        _ = &mut connection => answer.await,
    };
    Ok(answer?.status().as_u16())
}

async fn http2(stream: Pipe, asked: &Asked) -> Result<u16, BoxError> {
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(MOST_HEAD_HTTP2);
    let (sender, connection) = builder.handshake::<_, Bytes>(stream).await?;
    let scheme = if matches!(asked.to.transport, Transport::Tls(_)) { "https" } else { "http" };
    let request = Request::get(format!("{scheme}://{}{}", asked.host, asked.check.path))
        .header("cardea-probe", "1")
        .body(())?;
    let answering = async {
        let (answer, _) = sender.ready().await?.send_request(request, true)?;
        Ok::<_, BoxError>(answer.await?.status().as_u16())
    };
    let (mut answer, mut connection) = (pin!(answering), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

/// Answers in a row.
#[derive(Default)]
struct Tally {
    /// What is known: whether it is well. Nothing before the first answer, which counts at once.
    well: Option<bool>,
    /// How many answers in a row have said the opposite.
    against: u32,
}

impl Tally {
    /// Counts an answer. What is known from now on, if that is something new.
    fn counts(&mut self, good: bool, check: &HealthCheck) -> Option<bool> {
        let needed = match self.well {
            None => 1,
            Some(well) if well == good => {
                self.against = 0;
                return None;
            }
            Some(true) => check.unhealthy,
            Some(false) => check.healthy,
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        // What was taken for well until now is no news.
        let news = self.well.is_some() || !good;
        (self.well, self.against) = (Some(good), 0);
        news.then_some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Span;

    #[test]
    fn so_many_answers_in_a_row_and_the_first_at_once() {
        let check = HealthCheck {
            path: "/".into(),
            every: Span::seconds(1),
            timeout: Span::seconds(1),
            healthy: 2,
            unhealthy: 3,
            status: Vec::new(),
        };
        let run = |answers: &str| -> String {
            let mut tally = Tally::default();
            let said = |good| match tally.counts(good, &check) {
                None => '.',
                Some(true) => '+',
                Some(false) => '-',
            };
            answers.chars().map(|answer| answer == '+').map(said).collect()
        };
        assert_eq!(run("+++"), "...");
        assert_eq!(run("-"), "-");
        assert_eq!(run("+--+---++"), "......-.+");
        assert_eq!(run("-+-++"), "-...+");
        assert!(check.good(204) && !check.good(301) && !check.good(500));
        let exact = HealthCheck { status: vec![301], ..check };
        assert!(exact.good(301) && !exact.good(200));
    }
}
