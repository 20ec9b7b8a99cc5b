//! Certificates that have run out.

use std::path::Path;
use std::process::Command;

use super::world::{World, ask, hello, public_route, shown, write_pair};

const APP: &str = "app.cardea.localhost";

fn cardea(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardea"));
    let output = command.args(arguments).current_dir(folder).env_remove("CARDEA_CONFIG").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_25_one_certificate_that_has_run_out_costs_its_own_hosts_and_no_other() {
    let authority = super::world::Authority::new();
    let old = authority.issue_until(&["old.example", APP], 2021);
    let upstream = format!("http://{}", hello());
    let routes = format!(
        "[[tls.certificate]]\ncert = \"old.pem\"\nkey = {{ file = \"old.key\" }}\n{}[[route]]\nname = \"old\"\nhost = \"old.example\"\n\
         to = [\"{upstream}\"]\npublic = true\n",
        public_route("app", &upstream, "")
    );
    let world = World::with(&routes, &[("old.pem", &old.cert), ("old.key", &old.key)]).await;
    let folder = world.folder.path();

    // It starts, and serves who has a good one; where two are for one host, the one that is good.
    let good = shown(&world.connect(Some(APP)).await.unwrap());
    assert_ne!(good, old.der());
    assert!(world.get("app", "/").await.ends_with("hello"));
    let refused = world.connect(Some("old.example")).await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "a client is shown it, and refuses it: {refused}");

    // Whoever looks is told which one and since when.
    let (fine, said) = cardea(folder, &["cert", "list"]);
    assert!(fine && said.contains("*.cardea.localhost  until 1 Jan 2100"), "{said}");
    assert!(said.contains("old.example, app.cardea.localhost  EXPIRED on 1 Jan 2021"), "{said}");
    let (fine, said) = cardea(folder, &["check"]);
    assert!(fine && said.contains("W0313") && said.contains("old.pem: the certificate ran out on"), "{said}");
    let (_, said) = cardea(folder, &["status"]);
    assert!(said.contains("2, 1 of them not in force") && said.contains("old.example, "), "{said}");

    // Everything else in the configuration can still change, and the old one be replaced.
    world.running.reloader().reload("a test").await.unwrap();
    let new = world.authority.issue(&["old.example"]);
    write_pair(&world.path("old"), &new);
    world.running.reloader().reload("a test").await.unwrap();
    let mut stream = world.connect(Some("old.example")).await.unwrap();
    assert_eq!(shown(&stream), new.der());
    assert!(ask(&mut stream, "old.example", "/", true).await.ends_with("hello"));

    // But one that has run out takes the place of none that is good.
    write_pair(&world.path("old"), &old);
    let (said, _) = world.running.reloader().reload("a test").await.unwrap_err();
    assert!(said.contains("old.pem: the certificate ran out on"), "{said}");
    assert_eq!(shown(&world.connect(Some("old.example")).await.unwrap()), new.der());

    // What is no certificate at all is named, with what to do.
    std::fs::write(world.path("old.pem"), "nonsense").unwrap();
    let (fine, said) = cardea(folder, &["cert", "list"]);
    assert!(!fine && said.contains("old.pem: there is no certificate in it"), "{said}");
    assert!(said.contains("BEGIN CERTIFICATE"), "{said}");
    world.running.stop().await;
}
