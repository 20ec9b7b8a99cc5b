//! Handshakes over a pipe, where time and bytes are ours.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::TlsConnector;

use super::*;
use crate::crypto::certificate::{Authorities, Identity, Purpose, provider};
use crate::domain::Timestamp;
use crate::domain::route::{Protocol, UpstreamTls};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const WITHIN: Duration = Duration::from_secs(5);

fn minted(names: &[&str]) -> (String, Arc<Identity>) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let pem = params.self_signed(&key).unwrap().pem();
    let key = key.serialize_pem();
    let identity = Identity::parse(pem.as_bytes(), key.as_bytes(), Purpose::Server).unwrap();
    (pem, Arc::new(identity))
}

fn der(identity: &Identity) -> CertificateDer<'static> {
    identity.certified().cert[0].clone()
}

fn client(trusted: &[&Arc<Identity>]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for identity in trusted {
        roots.add(der(identity)).unwrap();
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// What the client was shown, or what it was told; and what the server thinks that it showed.
async fn meet(
    front: &Front,
    client: &TlsConnector,
    name: &str,
) -> (Result<CertificateDer<'static>, String>, Option<Arc<Identity>>) {
    let (near, far) = duplex(64 * 1024);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (shown, secured) = tokio::join!(client.connect(name, near), front.secure(far, WITHIN));
    let shown = shown.map(|stream| stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned());
    (shown.map_err(|error| error.to_string()), secured.ok().map(|secured| secured.identity))
}

#[tokio::test]
async fn f19_what_is_shown_is_what_covers_the_name() {
    let (_, exact) = minted(&["a.example"]);
    let (_, wild) = minted(&["*.b.example", "a.example"]);
    let (_, address) = minted(&["192.0.2.1"]);
    let front =
        Front::new(&[Arc::clone(&exact), Arc::clone(&wild), Arc::clone(&address)], &["http/1.1"], NOW)
            .unwrap();
    let client = client(&[&exact, &wild, &address]);
    for (name, expected) in [("a.example", &exact), ("A.EXAMPLE", &exact), ("x.b.example", &wild)] {
        let (shown, thought) = meet(&front, &client, name).await;
        assert_eq!(shown.unwrap(), der(expected), "{name}");
        assert_eq!(&thought.unwrap(), expected, "{name}");
    }
    for name in ["example", "b.example", "x.y.b.example", "a.example.org"] {
        let (shown, thought) = meet(&front, &client, name).await;
        assert!(shown.unwrap_err().contains("UnrecognisedName"), "{name}");
        assert!(thought.is_none());
    }
    // A client that comes by address sends no name, is shown the first, and finds out itself that it will not do.
    let (shown, _) = meet(&front, &client, "192.0.2.1").await;
    assert!(shown.unwrap_err().contains("certificate"));
    let first = Front::new(&[address, exact], &["http/1.1"], NOW).unwrap();
    assert!(meet(&first, &client, "192.0.2.1").await.0.is_ok());
}

#[tokio::test]
async fn proxy_25_what_is_replaced_is_shown_no_more_and_resumed_no_more() {
    let (_, old) = minted(&["a.example"]);
    let (_, new) = minted(&["a.example"]);
    let front = Front::new(&[Arc::clone(&old)], &["http/1.1"], NOW).unwrap();
    let client = client(&[&old, &new]);
    assert_eq!(meet(&front, &client, "a.example").await.0.unwrap(), der(&old));
    front.replace(&[Arc::clone(&new)], NOW).unwrap();
    assert_eq!(front.identities(), [Arc::clone(&new)]);
    // The client has tickets of the old one, and offers them.
    assert_eq!(meet(&front, &client, "a.example").await.0.unwrap(), der(&new));
}

#[tokio::test]
async fn f81_a_handshake_ends_in_time_however_slowly_it_comes() {
    let (_, identity) = minted(&["a.example"]);
    let front = Front::new(&[identity], &["http/1.1"], NOW).unwrap();
    let short = Duration::from_millis(200);
    let (_silent, far) = duplex(1024);
    assert!(matches!(front.secure(far, short).await, Err(Refused::Slow)));
    // A record that comes byte by byte gains no time.
    let (mut near, far) = duplex(1024);
    let drip = async {
        near.write_all(&[22, 3, 1, 1, 0, 1, 0, 0, 0xfc, 3, 3]).await.unwrap();
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if near.write_all(&[7]).await.is_err() {
                return std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        refused = front.secure(far, short) => assert!(matches!(refused, Err(Refused::Slow))),
        () = drip => unreachable!(),
        () = tokio::time::sleep(WITHIN) => panic!("it was waited for"),
    }
}

fn upstream(identity: &Arc<Identity>) -> (DuplexStream, tokio::task::JoinHandle<Vec<u8>>) {
    let front = Front::new(&[Arc::clone(identity)], &["http/1.1"], NOW).unwrap();
    let (near, far) = duplex(64 * 1024);
    let task = tokio::spawn(async move {
        let mut read = Vec::new();
        if let Ok(mut secured) = front.secure(far, WITHIN).await {
            let _ = secured.stream.read_to_end(&mut read).await;
        }
        read
    });
    (near, task)
}

#[tokio::test]
async fn proxy_23_only_the_name_that_was_asked_for_will_do() {
    let (pem, identity) = minted(&["a.internal", "127.0.0.1", "::1"]);
    let (other, _) = minted(&["a.internal"]);
    let spec = |id: u8, ca: Option<&String>, name: Option<&str>| {
        Arc::new(UpstreamTls {
            id: [id; 32],
            ca: ca.map(|pem| pem.clone().into_bytes()),
            identity: None,
            server_name: name.map(|name| crate::domain::Hostname::parse(name).unwrap()),
        })
    };
    let connectors = Connectors::new(Authorities::gathered([]));
    let named = spec(1, Some(&pem), Some("a.internal"));
    for (host, tls, fine) in [
        ("a.internal", spec(0, Some(&pem), None), true),
        ("10.0.0.1", Arc::clone(&named), true),
        ("10.0.0.1", named, true),
        ("127.0.0.1", spec(2, Some(&pem), None), true),
        ("[::1]", spec(2, Some(&pem), None), true),
        ("b.internal", spec(2, Some(&pem), None), false),
        ("10.0.0.1", spec(2, Some(&pem), None), false),
        ("a.internal", spec(3, Some(&pem), Some("b.internal")), false),
        ("a.internal", spec(4, Some(&other), None), false),
        ("a.internal", spec(5, None, None), false),
    ] {
        let (near, task) = upstream(&identity);
        let secured = connectors.secure(near, host, &tls, Protocol::Http1, NOW).await;
        assert_eq!(secured.is_ok(), fine, "{host} {tls:?}");
        match secured {
            Ok(mut stream) => {
                stream.write_all(b"hello").await.unwrap();
                stream.shutdown().await.unwrap();
                assert_eq!(task.await.unwrap(), b"hello");
            }
            Err(error) => {
                assert!(blames_tls(&std::io::Error::other(error)));
                assert!(task.await.unwrap().is_empty());
            }
        }
    }
    assert!(!blames_tls(&std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
}
