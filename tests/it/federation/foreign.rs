//! A sign-in at a provider that we did not write, through its own pages: the `oidc-provider` package on Node.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use cardea::access::Authority;

use super::World;
use crate::support::stage::{ENGINES, Stage};

/// The provider, running until this is dropped.
struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SCRIPT: &str = r"
import { createRequire } from 'node:module';
const require = createRequire(process.env.MODULES + '/');
const { Provider } = await import(require.resolve('oidc-provider'));
const [, , port, redirect] = process.argv;
const accounts = { findAccount: (_, id) => ({ accountId: id, claims: async () => ({
  sub: id, email: `${id}@acme.example`, email_verified: true, name: `Foreign ${id}`, groups: ['fin-analysts'],
}) }) };
const provider = new Provider(`http://idp.localhost:${port}`, {
  ...accounts,
  clients: [{
    client_id: 'cardea', client_secret: 'not-so-secret', redirect_uris: [redirect],
    grant_types: ['authorization_code'], response_types: ['code'], application_type: 'web',
  }],
  claims: { openid: ['sub', 'groups'], email: ['email', 'email_verified'], profile: ['name'] },
  pkce: { required: () => true, methods: ['S256'] },
  cookies: { keys: ['for the tests'] },
});
provider.listen(Number(port), '127.0.0.1', () => {});
";

async fn start(stage: &Stage, port: u16) -> Foreign {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/oidc-provider");
    assert!(modules.join("node_modules/oidc-provider").exists(), "run `.ci/install oidc-provider` first");
    let script = stage.folder.path().join("provider.mjs");
    std::fs::write(&script, SCRIPT).unwrap();
    let child = Command::new("node")
        .arg(&script)
        .args([port.to_string(), stage.portal("/auth/sso-callback/corp")])
        .env("MODULES", &modules)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let foreign = Foreign(child);
    for _ in 0..600 {
        if tokio::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return foreign;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the provider did not start");
}

#[tokio::test]
async fn somebody_signs_in_through_the_pages_of_a_provider_that_we_did_not_write() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let port = crate::support::free_port();
        let idp = super::provider::Idp {
            port,
            issuer: format!("http://idp.localhost:{port}"),
            ..unused(&stage).await
        };
        let world = World { stage, idp };
        let _foreign = start(&world.stage, port).await;
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
            assert!(visitor.url.contains("/interaction/"), "{} {}", visitor.url, visitor.text());
            visitor.submit(&[("login", "edsger"), ("password", "any")]).await;
            // Its page of consent.
            visitor.submit(&[("prompt", "consent")]).await;
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

async fn unused(stage: &Stage) -> super::provider::Idp {
    super::provider::Idp::open("unused.localhost", std::sync::Arc::clone(&stage.clock)).await
}
