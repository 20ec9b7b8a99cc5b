//! `cardea cert`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

fn cardea(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardea"));
    command.args(arguments).current_dir(folder).env_remove("CARDEA_CONFIG").output().unwrap()
}

#[test]
fn proxy_25_development_certificates_are_made_and_an_authority_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join("certs").join(name)).unwrap();
    let make = |more: &[&str]| {
        cardea(folder.path(), &[&["cert", "dev", "--host", "*.cardea.localhost"], more].concat())
    };
    let made = make(&[]);
    assert!(made.status.success(), "{made:?}");
    assert!(String::from_utf8_lossy(&made.stdout).contains("[tls]"));
    for (name, mode) in [("ca.key", 0o600), ("dev.key", 0o600), ("ca.pem", 0o644)] {
        let found = std::fs::metadata(folder.path().join("certs").join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    let (ca, leaf) = (read("ca.pem"), read("dev.pem"));
    assert!(!String::from_utf8_lossy(&made.stdout).contains("PRIVATE") && !leaf.contains("PRIVATE"));
    assert!(leaf.ends_with(&ca), "the chain is in it");

    // Again: another certificate by the same authority.
    assert!(make(&[]).status.success());
    assert_eq!(read("ca.pem"), ca);
    assert_ne!(read("dev.pem"), leaf);
    // Half an authority is not completed in silence.
    let key = read("ca.key");
    std::fs::remove_file(folder.path().join("certs/ca.key")).unwrap();
    let refused = make(&[]);
    assert!(!refused.status.success() && read("ca.pem") == ca, "{refused:?}");
    assert!(make(&["--new-ca"]).status.success());
    assert!(read("ca.pem") != ca && read("ca.key") != key);

    // A gateway can be configured with them, and says what it shows.
    let text = "[server]\npublic_url = \"https://access.cardea.localhost\"\n[storage]\nurl = \"sqlite:x.db\"\n[secrets]\n\
                master_key = { file = \"master.key\" }\n[tls]\nmode = \"files\"\n\
                cert = \"certs/dev.pem\"\nkey = { file = \"certs/dev.key\" }\n";
    std::fs::write(folder.path().join("cardea.toml"), text).unwrap();
    let key = folder.path().join("master.key");
    std::fs::write(&key, cardea::config::key_file(&[7; 32]).as_bytes()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let checked = cardea(folder.path(), &["check", "--strict"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let listed = cardea(folder.path(), &["cert", "list"]);
    let said = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(said.contains("*.cardea.localhost") && said.contains("until"), "{said}");
    // Without names it makes one for the hosts of the configuration, also where they are named and not there yet.
    for name in ["certs/dev.pem", "certs/dev.key", "master.key"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    let made = cardea(folder.path(), &["cert", "dev"]);
    assert!(made.status.success(), "{made:?}");
    let refused = cardea(folder.path(), &["check"]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(said.contains("openssl rand -base64 32 > master.key"), "{said}");
    std::fs::write(&key, cardea::config::key_file(&[7; 32]).as_bytes()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let said = String::from_utf8_lossy(&cardea(folder.path(), &["cert", "list"]).stdout).into_owned();
    assert!(said.contains("access.cardea.localhost") && !said.contains('*'), "{said}");
    assert_eq!(CertificateDer::pem_slice_iter(read("dev.pem").as_bytes()).count(), 2);
}
