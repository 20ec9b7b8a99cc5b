//! A sign-in at a provider that we did not write, through its own page: pysaml2.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use cardea::access::Authority;

use super::{RULES, World};
use crate::support::stage::{ENGINES, Stage};

/// The provider, running until this is dropped.
struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// pysaml2 is a library: this is the server around it, with a page for name and password.
const SCRIPT: &str = r#"
import sys, html
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse, parse_qs
from saml2 import BINDING_HTTP_REDIRECT, BINDING_HTTP_POST
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAMEID_FORMAT_PERSISTENT
from saml2.server import Server

port, folder, sign = int(sys.argv[1]), sys.argv[2], sys.argv[3]
base = f"http://pysaml.localhost:{port}"
config = IdPConfig().load({
    "entityid": base + "/metadata",
    "xmlsec_binary": "/usr/bin/xmlsec1",
    "key_file": folder + "/idp.key",
    "cert_file": folder + "/idp.pem",
    "metadata": {"local": [folder + "/sp.xml"]},
    "signing_algorithm": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "digest_algorithm": "http://www.w3.org/2001/04/xmlenc#sha256",
    "service": {"idp": {
        "endpoints": {"single_sign_on_service": [(base + "/sso", BINDING_HTTP_REDIRECT)]},
        "name_id_format": [NAMEID_FORMAT_PERSISTENT],
        "subject_data": folder + "/people",
        "policy": {"default": {
            "lifetime": {"minutes": 5}, "attribute_restrictions": None,
            "name_form": "urn:oasis:names:tc:SAML:2.0:attrname-format:uri",
        }},
    }},
})
server = Server(config=config)
people = {"edsger": {
    "uid": "edsger", "mail": "edsger@acme.example", "displayName": "Foreign edsger", "eduPersonAffiliation": ["fin-analysts", "staff"],
}}

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def page(self, text, status=200, kind="text/html; charset=utf-8"):
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urlparse(self.path)
        if url.path == "/metadata":
            return self.page(str(entity_descriptor(config)), kind="application/samlmetadata+xml")
        asked = parse_qs(url.query)
        fields = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(asked[name][0])}">' for name in ("SAMLRequest", "RelayState")
        )
        self.page(f'<h1>Who are you?</h1><form method="post" action="/login"><input name="login"><input name="password">{fields}</form>')

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        name = form["login"][0]
        if name not in people or form["password"][0] != "correct horse":
            return self.page("<h1>No</h1>", 403)
        request = server.parse_authn_request(form["SAMLRequest"][0], BINDING_HTTP_REDIRECT)
        args = server.response_args(request.message)
        response = server.create_authn_response(
            identity=people[name], userid=name, sign_response=sign in ("response", "both"), sign_assertion=sign in ("assertion", "both"),
            # As shipped it signs with SHA-1, which is not taken.
            sign_alg=config.signing_algorithm, digest_alg=config.digest_algorithm,
            authn={"class_ref": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", "authn_auth": base},
            **args,
        )
        sent = server.apply_binding(BINDING_HTTP_POST, str(response), args["destination"], form["RelayState"][0], response=True)
        self.page(sent["data"])

ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"#;

async fn start(stage: &Stage, port: u16, sign: &str) -> Foreign {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/pysaml2/bin/python");
    assert!(python.exists(), "run `.ci/install pysaml2` first");
    let folder = stage.folder.path();
    let script = folder.join("provider.py");
    std::fs::write(&script, SCRIPT).unwrap();
    let key = super::provider::keys()[0].pem();
    std::fs::write(folder.join("idp.key"), key.0).unwrap();
    std::fs::write(folder.join("idp.pem"), key.1).unwrap();
    let child = Command::new(python)
        .arg(&script)
        .arg(port.to_string())
        .arg(folder)
        .arg(sign)
        .stdout(Stdio::null())
        .stderr(Stdio::from(std::fs::File::create(folder.join("provider.log")).unwrap()))
        .spawn()
        .unwrap();
    let mut foreign = Foreign(child);
    for _ in 0..600 {
        if tokio::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return foreign;
        }
        assert!(foreign.0.try_wait().unwrap().is_none(), "{}", said(stage));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the provider did not start: {}", said(stage));
}

fn said(stage: &Stage) -> String {
    std::fs::read_to_string(stage.folder.path().join("provider.log")).unwrap_or_default()
}

#[tokio::test]
async fn somebody_signs_in_through_the_page_of_a_provider_that_we_did_not_write() {
    for (engine, sign) in ENGINES.into_iter().zip(["assertion", "both"]) {
        let stage = Stage::open(engine).await;
        let port = crate::support::free_port();
        let entity = format!("http://pysaml.localhost:{port}/metadata");
        let idp = super::provider::Idp::open(std::sync::Arc::clone(&stage.clock)).await;
        let world = World { stage, idp };
        world
            .append(&format!(
                "[outbound]\nallow = [\"pysaml.localhost:{port}\"]\n[[idp]]\nname = \"corp\"\nlabel = \"Corp\"\ntype = \"saml\"\n\
                 tenant = \"acme\"\ndomains = [\"acme.example\"]\nmetadata = \"{entity}\"\nentity_id = \"{entity}\"\n\
                 authoritative = true\nname_id = \"persistent\"\nwant = [\"signed-assertion\"]\n{}",
                RULES.replace("groups\"\n  has", "eduPersonAffiliation\"\n  has")
            ))
            .await;
        // It is given what we publish about ourselves.
        let ours = world.stage.visitor().look(&world.stage.portal("/auth/saml/corp/metadata")).await;
        std::fs::write(world.stage.folder.path().join("sp.xml"), ours.body).unwrap();
        let _foreign = start(&world.stage, port, sign).await;
        for _ in 0..2 {
            let mut visitor = world.stage.visitor();
            visitor.get(&world.stage.url("lantern.cardea", "/")).await;
            let href = visitor.attribute(".providers a", "href").unwrap();
            visitor.get(&world.stage.portal(&href)).await;
            assert_eq!(visitor.title(), "Who are you?", "{} {}", visitor.url, visitor.text());
            visitor.submit(&[("login", "edsger"), ("password", "correct horse")]).await;
            let response = super::visitor_value(&visitor, "SAMLResponse");
            assert!(!response.is_empty(), "{} {}", visitor.text(), said(&world.stage));
            visitor.submit(&[("SAMLResponse", &response)]).await;
            let refused = match visitor.attribute("#reference", "id") {
                Some(_) => Some(world.cause(&visitor).await),
                None => None,
            };
            assert_eq!(refused, None);
            assert!(
                visitor.url.starts_with(&world.stage.url("lantern.cardea", "/")),
                "{} {}",
                visitor.url,
                visitor.text()
            );
            assert!(visitor.text().contains("saml:corp"), "{}", visitor.text());
        }
        let admin = &world.stage.house().admin;
        let view = admin.show_user(&Authority::system(), world.stage.user("edsger").await).await.unwrap();
        assert_eq!(view.user.name.as_str(), "Foreign edsger", "{engine:?}");
        assert!(view.principal.roles.iter().any(|held| held.slug.as_str() == "analyst"));
    }
}
