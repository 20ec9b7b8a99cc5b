//! Sign-ins at a provider that we did not write, through its own pages: the `oidc-provider` package on Node.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cardea::access::Authority;
use serde_json::{Value, json};

use super::keys::{self, ALGORITHMS};
use super::{RULES, World};
use crate::support::stage::{ENGINES, Engine, Stage, Visitor};

/// A provider, running until this is dropped.
pub(super) struct Foreign(pub(super) Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SCRIPT: &str = r"
import { createRequire } from 'node:module';
import { generateKeyPairSync } from 'node:crypto';
const require = createRequire(process.env.MODULES + '/');
const { Provider } = await import(require.resolve('oidc-provider'));
const [, , port, clients] = process.argv;
const accounts = { findAccount: (_, id) => ({ accountId: id, claims: async () => ({
  sub: id, email: `${id}@acme.example`, email_verified: true, name: `Foreign ${id}`, groups: ['fin-analysts'],
}) }) };
const every = ['EdDSA', 'ES256', 'ES384', 'PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512'];
const kinds = [['rsa', { modulusLength: 2048 }], ['ec', { namedCurve: 'P-256' }], ['ec', { namedCurve: 'P-384' }], ['ed25519', {}]];
const provider = new Provider(`http://idp.localhost:${port}`, {
  ...accounts,
  clients: JSON.parse(clients).map((client) => ({
    grant_types: ['authorization_code'], response_types: ['code'], application_type: 'web', ...client,
  })),
  jwks: { keys: kinds.map(([kind, how]) => generateKeyPairSync(kind, how).privateKey.export({ format: 'jwk' })) },
  enabledJWA: { idTokenSigningAlgValues: every, userinfoSigningAlgValues: every, clientAuthSigningAlgValues: every },
  features: { jwtUserinfo: { enabled: true } },
  claims: { openid: ['sub', 'groups'], email: ['email', 'email_verified'], profile: ['name'] },
  pkce: { required: () => true, methods: ['S256'] },
  cookies: { keys: ['for the tests'] },
});
provider.listen(Number(port), '127.0.0.1', () => {});
";

async fn start(stage: &Stage, port: u16, clients: &Value) -> Foreign {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/oidc-provider");
    assert!(modules.join("node_modules/oidc-provider").exists(), "run `.ci/install oidc-provider` first");
    let script = stage.folder.path().join("provider.mjs");
    std::fs::write(&script, SCRIPT).unwrap();
    let said = std::fs::File::create(stage.folder.path().join("provider.log")).unwrap();
    let child = Command::new("node")
        .arg(&script)
        .args([port.to_string(), clients.to_string()])
        .env("MODULES", &modules)
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .unwrap();
    answering(Foreign(child), port).await
}

/// Waits until a provider takes connections.
pub(super) async fn answering(foreign: Foreign, port: u16) -> Foreign {
    for _ in 0..600 {
        if tokio::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return foreign;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the provider did not start");
}

/// The world with a provider that is still to be started.
pub(super) async fn world(engine: Engine, scheme: &str) -> World {
    let stage = Stage::open(engine).await;
    let port = crate::support::free_port();
    let unused = super::provider::Idp::open("unused.localhost", std::sync::Arc::clone(&stage.clock)).await;
    let idp = super::provider::Idp { port, issuer: format!("{scheme}://idp.localhost:{port}"), ..unused };
    World { stage, idp }
}

/// Through its page of sign-in and its page of consent.
async fn through(visitor: &mut Visitor, name: &str) {
    assert!(visitor.url.contains("/interaction/"), "{} {}", visitor.url, visitor.text());
    visitor.submit(&[("login", name), ("password", "any")]).await;
    visitor.submit(&[("prompt", "consent")]).await;
}

#[tokio::test]
async fn somebody_signs_in_through_the_pages_of_a_provider_that_we_did_not_write() {
    for engine in ENGINES {
        let world = world(engine, "http").await;
        let redirect = world.stage.portal("/auth/sso-callback/corp");
        let client =
            json!({ "client_id": "cardea", "client_secret": "not-so-secret", "redirect_uris": [redirect] });
        let _foreign = start(&world.stage, world.idp.port, &json!([client])).await;
        let section = world.section(
            "corp",
            "tenant = \"acme\"\ndomains = [\"acme.example\"]\n",
            "authoritative = true\n",
        );
        world.append(&section.replace(super::SECRET, "not-so-secret")).await;
        for _ in 0..2 {
            let mut visitor = world.stage.visitor();
            visitor.get(&world.stage.url("lantern.cardea", "/")).await;
            let href = visitor.attribute(".providers a", "href").unwrap();
            visitor.get(&world.stage.portal(&href)).await;
            through(&mut visitor, "edsger").await;
            assert!(
                visitor.url.starts_with(&world.stage.url("lantern.cardea", "/")),
                "{} {}",
                visitor.url,
                visitor.text()
            );
            assert!(visitor.text().contains("oidc:corp"), "{}", visitor.text());
        }
        let admin = &world.stage.house().admin;
        let view = admin.show_user(&Authority::system(), world.stage.user("edsger").await).await.unwrap();
        assert_eq!(view.user.name.as_str(), "Foreign edsger", "{engine:?}");
        assert!(view.principal.roles.iter().any(|held| held.slug.as_str() == "analyst"));
    }
}

/// How each client proves who it is, and what the provider signs its ID token and its `UserInfo` with.
const CLIENTS: [(&str, &str, &str); 5] = [
    ("RS256", "PS256", "RS512"),
    ("PS256", "ES384", "EdDSA"),
    ("ES256", "EdDSA", "PS384"),
    ("EdDSA", "RS384", "ES256"),
    ("ES384", "PS512", "RS256"),
];

/// A key as an operator makes one.
fn client_key(alg: &str) -> String {
    match alg {
        "ES256" => keys::generated(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        "ES384" => keys::generated(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        "EdDSA" => keys::generated(&["-algorithm", "ED25519"]),
        _ => keys::generated(&keys::RSA),
    }
}

#[tokio::test]
async fn oidc_10_every_signature_is_understood_by_a_provider_that_we_did_not_write_and_its_by_us() {
    let world = world(Engine::Sqlite, "http").await;
    let super::provider::Idp { issuer, port, .. } = &world.idp;
    let algorithms = ALGORITHMS.map(|alg| format!("\"{alg}\"")).join(", ");
    let mut text = format!("[outbound]\nallow = [\"idp.localhost:{port}\"]\n");
    for (alg, ..) in CLIENTS {
        let name = alg.to_lowercase();
        world.keep(&format!("{name}.key"), &client_key(alg));
        let kind = if alg.starts_with(['R', 'P']) {
            format!("client_key_algorithm = \"{alg}\"\n")
        } else {
            String::new()
        };
        write!(
            text,
            "[[idp]]\nname = \"{name}\"\ntenant = \"acme\"\nissuer = \"{issuer}\"\nclient_id = \"{name}\"\n\
             client_auth = \"private_key_jwt\"\nclient_key = {{ file = \"{name}.key\" }}\n{kind}algorithms = [{algorithms}]\n{RULES}"
        )
        .unwrap();
    }
    world.append(&text).await;
    let mut clients = Vec::new();
    for (alg, id_token, userinfo) in CLIENTS {
        let name = alg.to_lowercase();
        // As the provider would fetch it from us.
        let address = world.stage.portal(&format!("/auth/oidc/{name}/jwks.json"));
        let published: Value =
            serde_json::from_str(&world.stage.visitor().look(&address).await.body).unwrap();
        clients.push(json!({
            "client_id": name, "redirect_uris": [world.stage.portal(&format!("/auth/sso-callback/{name}"))],
            "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": alg, "jwks": published,
            "id_token_signed_response_alg": id_token, "userinfo_signed_response_alg": userinfo,
        }));
    }
    let _foreign = start(&world.stage, *port, &Value::Array(clients)).await;
    for (alg, ..) in CLIENTS {
        let name = alg.to_lowercase();
        let mut visitor = world.at_door().await;
        visitor.get(&world.stage.portal(&format!("/auth/start/{name}"))).await;
        through(&mut visitor, "barbara").await;
        let came = visitor.title() == "My apps";
        if !came {
            let said = std::fs::read_to_string(world.stage.folder.path().join("provider.log")).unwrap();
            panic!("{alg}: {:?} {said}", world.cause(&visitor).await);
        }
        assert_eq!(world.roles(&format!("barbara.{name}")).await, ["analyst"], "{alg}");
    }
}
