//! The operations listener: is it alive, is it ready, how is it doing. Never on the public listener (`F10`, `F74`).

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use super::reload::ConfigState;
use crate::access::Ledger;
use crate::proxy::{Condition, Gate, Sighting};
use crate::session::Sessions;
use crate::sys::Clock;

/// What the operations pages look at.
#[derive(Clone)]
pub(super) struct Ops {
    /// Sessions and with them the database and the lease.
    pub(super) sessions: Arc<Sessions>,
    /// The audit queue.
    pub(super) ledger: Ledger,
    /// Whether the configuration in force is the one in the files.
    pub(super) config: Arc<ConfigState>,
    /// How upstreams are.
    pub(super) gate: Arc<Gate>,
    /// The metrics.
    pub(super) metrics: Option<PrometheusHandle>,
    /// The time.
    pub(super) clock: Arc<dyn Clock>,
    /// Whether a stop was asked for.
    pub(super) stopping: tokio::sync::watch::Receiver<bool>,
}

/// The three pages.
pub(super) fn router(ops: Ops) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(ops)
}

async fn ready(State(ops): State<Ops>) -> Response {
    let storage =
        match tokio::time::timeout(std::time::Duration::from_secs(2), ops.sessions.db().ping()).await {
            Ok(Ok(())) => "ok",
            Ok(Err(_)) | Err(_) => "down",
        };
    let lease = if ops.sessions.lease().holds(ops.clock.now()) { "held" } else { "lost" };
    let stopping = *ops.stopping.borrow();
    let ready = storage == "ok" && lease == "held" && !stopping;
    let config = ops.config.words();
    let body =
        json!({ "ready": ready, "storage": storage, "lease": lease, "config": config, "stopping": stopping });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge of sessions or lost events needs no more than 52 bits"
)]
async fn metrics(State(ops): State<Ops>) -> Response {
    metrics::gauge!("cardea_sessions_cached").set(ops.sessions.cached_count() as f64);
    metrics::gauge!("cardea_audit_dropped").set(ops.ledger.dropped() as f64);
    metrics::gauge!("cardea_config_reload_success").set(if ops.config.fine() { 1.0 } else { 0.0 });
    let mut text = ops.metrics.map(|handle| handle.render()).unwrap_or_default();
    text.push_str(&upstreams(&ops.gate.upstreams()));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// The addresses of routes as metrics. Written here, since the recorder never forgets a label: an address that was taken out of
/// the configuration would stay for ever.
fn upstreams(seen: &[Sighting]) -> String {
    let mut text =
        "# HELP cardea_upstream_up Whether an address of a route takes its share of the requests\n\
                    # TYPE cardea_upstream_up gauge\n"
            .to_owned();
    for Sighting { route, address, condition } in seen {
        let up = u8::from(*condition == Condition::Well);
        // Names of routes and addresses have no character that would have to be escaped.
        let _ = writeln!(text, "cardea_upstream_up{{route=\"{route}\",address=\"{address}\"}} {up}");
    }
    text
}
