use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::crypto::certificate::Authorities;

fn client(allow: Vec<Allowed>) -> Outbound {
    Outbound::new(Connectors::new(Authorities::gathered(Vec::new())), allow)
}

async fn ask(client: &Outbound, url: &str) -> Result<Answer, Failed> {
    let request = Request::builder().uri(url).body(Vec::new()).unwrap();
    client.send(request, &Arc::default(), Timestamp::from_millis(0)).await
}

/// Serves one connection with a text, byte by byte if slow; gives the port.
async fn server(answer: Vec<u8>, slow: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        if !slow {
            let _ = stream.write_all(&answer).await;
            return;
        }
        for byte in answer {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    port
}

fn loopback() -> Outbound {
    client(vec![Allowed::Net("127.0.0.0/8".parse().unwrap())])
}

#[tokio::test]
async fn oidc_25_what_is_not_on_the_open_internet_is_not_reached() {
    let client = client(Vec::new());
    for host in [
        "127.0.0.1",
        "[::1]",
        "169.254.169.254",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00::1]",
        "localhost",
        "idp.localhost",
    ] {
        let failed = ask(&client, &format!("https://{host}/x")).await.unwrap_err();
        assert!(matches!(failed, Failed::Forbidden { .. }), "{host}: {failed}");
    }
    for url in ["http://192.0.43.10/", "http://127.0.0.1/"] {
        assert!(matches!(ask(&client, url).await.unwrap_err(), Failed::Plain(_)), "{url}");
    }
    for url in ["file:///etc/passwd", "https://user@127.0.0.1/", "/x", "ftp://127.0.0.1/"] {
        let request = Request::builder().uri(url).body(Vec::new());
        let Ok(request) = request else { continue };
        let failed = client.send(request, &Arc::default(), Timestamp::from_millis(0)).await.unwrap_err();
        assert!(matches!(failed, Failed::Address(_)), "{url}: {failed}");
    }
}

#[tokio::test]
async fn oidc_25_no_exception_leads_to_where_clouds_keep_secrets() {
    let everything =
        client(vec![Allowed::Net("0.0.0.0/0".parse().unwrap()), Allowed::Net("::/0".parse().unwrap())]);
    for host in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "168.63.129.16"] {
        let failed = ask(&everything, &format!("http://{host}/x")).await.unwrap_err();
        assert!(matches!(failed, Failed::Forbidden { .. }), "{host}: {failed}");
    }
}

#[tokio::test]
async fn oidc_25_an_exception_is_for_the_named_host_and_port_alone() {
    let port = server(
        b"HTTP/1.1 200 OK\r\ncontent-type: Application/JSON; charset=utf-8\r\ncontent-length: 2\r\n\r\n{}"
            .to_vec(),
        false,
    )
    .await;
    let named = client(vec![Allowed::Host("idp.localhost".into(), port)]);
    assert!(matches!(ask(&named, &format!("http://other.localhost:{port}/")).await, Err(Failed::Plain(_))));
    let answer = ask(&named, &format!("http://idp.localhost:{port}/")).await.unwrap();
    assert_eq!((answer.media_type.as_str(), &answer.body[..]), ("application/json", &b"{}"[..]));
}

#[tokio::test]
async fn oidc_26_no_redirect_is_followed() {
    for status in [301, 302, 303, 307, 308] {
        let port = server(
            format!("HTTP/1.1 {status} x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
                .into(),
            false,
        )
        .await;
        let failed = ask(&loopback(), &format!("http://127.0.0.1:{port}/")).await.unwrap_err();
        assert!(matches!(failed, Failed::Redirect { status: found, .. } if found == status), "{failed}");
    }
}

#[tokio::test]
async fn oidc_27_an_answer_is_bounded() {
    let mut big = b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n".to_vec();
    big.resize(big.len() + 2_000_000, b'x');
    let port = server(big, false).await;
    assert!(matches!(ask(&loopback(), &format!("http://127.0.0.1:{port}/")).await, Err(Failed::TooLarge(_))));
    let port = server(b"this is no HTTP at all\r\n\r\n".to_vec(), false).await;
    assert!(matches!(ask(&loopback(), &format!("http://127.0.0.1:{port}/")).await, Err(Failed::Http { .. })));
}

#[tokio::test]
async fn oidc_28_a_trickle_ends_at_the_deadline() {
    let port = server(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n".repeat(20), true).await;
    assert!(matches!(ask(&loopback(), &format!("http://127.0.0.1:{port}/")).await, Err(Failed::Slow(_))));
}
