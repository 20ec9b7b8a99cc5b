//! gRPC through the gate, with a client and a server that others wrote.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use cardea::access::Authority;
use tonic::Code;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::HealthReporter;

use super::open::newest_session;
use crate::support::stage::{Engine, Stage};

/// What ends, ends within this.
const BOUND: Duration = Duration::from_secs(1);

/// A server of the health protocol of gRPC: it answers calls, and streams every change to whoever watches.
async fn server() -> (SocketAddr, HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("app", ServingStatus::Serving).await;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(async move { Server::builder().add_service(service).serve_with_incoming(incoming).await });
    (address, reporter)
}

type Signed = Box<dyn FnMut(tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> + Send>;

/// A client whose calls carry this session.
async fn client(stage: &Stage, token: Option<String>) -> HealthClient<InterceptedService<Channel, Signed>> {
    let gate = Endpoint::from_shared(format!("http://127.0.0.1:{}", stage.port)).unwrap();
    let channel = gate.origin(stage.url("lantern.cardea", "").parse().unwrap()).connect().await.unwrap();
    let signed: Signed = Box::new(move |mut request| {
        if let Some(token) = &token {
            request.metadata_mut().insert("cookie", format!("cardea={token}").parse().unwrap());
        }
        Ok(request)
    });
    HealthClient::with_interceptor(channel, signed)
}

fn app() -> HealthCheckRequest {
    HealthCheckRequest { service: "app".to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_01_proxy_17_grpc_passes_with_its_trailers_and_ends_with_the_session() {
    let stage = Stage::open(Engine::Sqlite).await;
    let (server, reporter) = server().await;
    let from =
        format!("lantern.cardea.localhost\"\nto     = [\"http://127.0.0.1:{}\"]", stage.demo.lantern.port());
    let to =
        format!("lantern.cardea.localhost\"\nto     = [\"http://{server}\"]\nupstream_protocol = \"http2\"");
    stage.reconfigured(&from, &to).await;

    let mut somebody = client(&stage, None).await;
    let refused = somebody.check(app()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    assert!(refused.message().starts_with("Sign in to continue. "), "{refused:?}");
    assert!(refused.message().contains(&stage.url("lantern.cardea", "/.cardea/start")), "{refused:?}");

    let mut grace = stage.signed_in("grace").await;
    grace.get(&stage.url("lantern.cardea", "/")).await;
    let token = grace.cookie(&stage.url("lantern.cardea", "/"), "cardea");
    assert!(token.is_some());
    let mut calls = client(&stage, token.clone()).await;
    let answer = calls.check(app()).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);
    // What a server refuses comes in trailers, without a body.
    let unknown = calls.check(HealthCheckRequest { service: "other".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "{unknown:?}");

    let mut watched = calls.watch(app()).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status, 1);
    reporter.set_service_status("app", ServingStatus::NotServing).await;
    assert_eq!(watched.message().await.unwrap().unwrap().status, 2, "it comes without delay");

    // Another session of the same person goes on.
    let older = token;
    let mut again = stage.signed_in("grace").await;
    again.get(&stage.url("lantern.cardea", "/")).await;
    let newer = again.cookie(&stage.url("lantern.cardea", "/"), "cardea");
    assert_ne!(older, newer);
    let mut others = client(&stage, older).await;
    let mut untouched = others.watch(app()).await.unwrap().into_inner();
    assert_eq!(untouched.message().await.unwrap().unwrap().status, 2);
    let mut calls = client(&stage, newer).await;
    let mut watched = calls.watch(app()).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status, 2);

    let newest = newest_session(&stage, "grace").await;
    let begun = Instant::now();
    stage.house().admin.revoke_session(&Authority::system(), newest).await.unwrap();
    let ended =
        tokio::time::timeout(Duration::from_secs(8), watched.message()).await.expect("it does not end");
    assert!(ended.is_err(), "an end that looks like one: {ended:?}");
    assert!(begun.elapsed() <= BOUND, "{:?}", begun.elapsed());
    let refused = calls.check(app()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    reporter.set_service_status("app", ServingStatus::Serving).await;
    assert_eq!(untouched.message().await.unwrap().unwrap().status, 1);

    // The server is gone: worth another try, and no fault of the call's.
    let nobody = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    stage.reconfigured(&server.to_string(), &nobody.to_string()).await;
    let gone = others.check(app()).await.unwrap_err();
    assert_eq!(gone.code(), Code::Unavailable, "{gone:?}");
    assert!(gone.message().contains("The app did not answer"), "{gone:?}");
    stage.demo.stop().await;
}
