//! The way to the control plane: pages of the portal, and every question to the database.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::runtime::Handle;

use super::Arrival;

/// Whatever went wrong with a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request to the portal: read whole, at most 64 KiB.
pub type PortalBody = Bytes;

/// An answer of the portal.
pub type PortalAnswer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// Answers requests for the portal's host. Called on the control plane's runtime.
pub type PortalService = Arc<
    dyn Fn(Request<PortalBody>, Arrival) -> Pin<Box<dyn Future<Output = PortalAnswer> + Send>> + Send + Sync,
>;

/// The control plane: a runtime, and what answers on it.
#[derive(Clone)]
pub struct ControlPlane {
    runtime: Handle,
    service: PortalService,
}

/// The control plane did not finish: it is stopping, or the work panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the control plane did not finish the work")]
pub(super) struct Gone;

impl ControlPlane {
    /// `service` answers requests for the portal's host; it and all database work run on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle, service: PortalService) -> Self {
        Self { runtime, service }
    }

    /// Runs work on the control plane. It goes on to its end even if the client goes away, so that nothing that was begun
    /// in the database is left half done.
    pub(super) async fn run<F>(&self, work: F) -> Result<F::Output, Gone>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(work).await.map_err(|_| Gone)
    }

    /// Has the portal answer.
    pub(super) async fn answer(
        &self,
        request: Request<PortalBody>,
        arrival: Arrival,
    ) -> Result<PortalAnswer, Gone> {
        let service = Arc::clone(&self.service);
        self.run(async move { service(request, arrival).await }).await
    }
}
