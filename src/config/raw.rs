//! The format of the file, section by section. The comments here are the documentation that people read.

use super::kinds::{
    Allow, ClientAuth, FactorMethod, FilePath, GroupsOverage, HeaderLines, HeaderName, Headers, HostCase,
    IdpType, Issuer, Label, Landing, LogLevel, MetadataPlace, Method, NameIdKind, NamedNetworks, Permissions,
    Prefix, ProbePath, SecretRef, SiteOrigin, SsoUrl, TenantRef, TlsMode, To, UnusualName, WantPart,
};
use super::read::{Maybe, Written, section};
use super::settings::{DataPlane, LogFormat, MfaRequire, PublicUrl};
use crate::domain::policy::{How, Needs, PathPattern, Who};
use crate::domain::pool::Balance;
use crate::domain::provider::{Algorithm, Audience, Provision, ResponseMode};
use crate::domain::role::Scope;
use crate::domain::route::Protocol;
use crate::domain::{Hostname, PlacePath, Slug, Span};
use ipnet::IpNet;
use std::net::SocketAddr;

section! {
    /// The configuration of Cardea.
    Root {
        /// The version of this format.
        config_version: Written<u32> = 1,
        /// More files, relative to this one; `*` stands for anything in the last part of a path. They are read in the
        /// order of their names, and no key may be set twice.
        #[expect(dead_code, reason = "`layer` follows it before anything else is read")]
        include: Vec<Written<String>> = [],
        server: Maybe<Server>,
        tls: Maybe<Tls>,
        storage: Maybe<Storage> = {},
        secrets: Maybe<Secrets> = {},
        log: Maybe<Log> = {},
        session: Maybe<Session> = {},
        sign_in: Maybe<SignIn> = {},
        mfa: Maybe<Mfa> = {},
        /// Networks by name, usable in policies as `net:NAME`.
        networks: Maybe<NamedNetworks>,
        brand: Maybe<Brand> = {},
        outbound: Maybe<Outbound> = {},
        /// Tenants, with their organisations and departments. Without any there is one, called `default`.
        tenant: Vec<Tenant> = [],
        /// Roles: named sets of permissions.
        role: Vec<Role> = [],
        /// Groups of a tenant that policies name.
        group: Vec<Group> = [],
        /// Identity providers that people sign in with.
        idp: Vec<Idp> = [],
        /// Routes: which requests go to which upstream, and under which policy.
        route: Vec<Route> = [],
    }
}

section! {
    /// Addresses and listeners. Changes need a restart.
    Server {
        /// Where people sign in: portal, console and API. Scheme, host and port only. Plain `http` is taken for
        /// `localhost` and `*.localhost` alone.
        public_url: Written<PublicUrl>,
        /// Where requests are taken: over TLS with `tls.mode = "files"`, else in plain HTTP. Plain HTTP goes beyond loopback
        /// only with `tls.mode = "off"` and `trusted_proxies`.
        listen: Vec<Written<SocketAddr>> = ["127.0.0.1:8600"],
        /// Where other proxies ask about the requests that they forward: nginx, Traefik, Caddy and Envoy. Only this
        /// machine and `trusted_proxies` may. Beyond loopback only with `trusted_proxies`.
        forward_auth_listen: Maybe<Written<SocketAddr>>,
        /// Where plain HTTP is answered with the way to HTTPS, for the hosts of portal and routes. Needs `tls.mode = "files"`.
        http_redirect: Maybe<Written<SocketAddr>>,
        /// A folder in which an ACME client leaves its answers (HTTP-01): `/.well-known/acme-challenge/TOKEN` is answered on
        /// `http_redirect` with the file of that name in it, and with no other. Relative to this file.
        acme_challenges: Maybe<Written<FilePath>>,
        /// Where health (`/healthz`, `/readyz`) and metrics (`/metrics`) are served, without sign-in.
        ops_listen: Written<SocketAddr> = "127.0.0.1:9600",
        /// The Unix socket over which the command line speaks to the running server. By default it stands beside
        /// the SQLite database and has its name, `cardea.sock` for `cardea.db`; with PostgreSQL `/run/cardea/cardea.sock`.
        control_socket: Maybe<Written<FilePath>>,
        /// Networks of the proxies in front, whose `X-Forwarded-For` is believed.
        trusted_proxies: Vec<Written<IpNet>> = [],
        /// How long requests may go on after a stop was asked for.
        shutdown_grace: Written<Span> = "20s",
        /// Threads that serve routes; 0 is one per core.
        data_threads: Written<u32> = 0,
        /// The most connections of one client: of one IPv4 address, or one IPv6 network of 64 bits. Further ones are closed
        /// at once. Those of `trusted_proxies` are not counted.
        connections_per_client: Written<u32> = 1024,
        /// Who reads HTTP/1.1: `strict`, our own reader, or `hyper`, the library, which is more lenient and slower: a way
        /// out, should a fault be found in the other.
        data_plane: Written<DataPlane> = "strict",
    }
}

impl Server {
    /// Every address that is listened on.
    pub(super) fn listeners(&self) -> impl Iterator<Item = &Written<SocketAddr>> {
        let asked = self.listen.iter().chain(&self.forward_auth_listen.0);
        asked.chain([&self.ops_listen]).chain(&self.http_redirect.0)
    }
}

section! {
    /// TLS towards browsers. Certificate files are read again when they change; open connections stay.
    Tls {
        /// `files`: the listeners speak TLS, with certificates from files. `off`: a proxy in front ends TLS.
        mode: Written<TlsMode>,
        /// The certificate with its chain, as PEM, relative to this file. Clients that name no host are shown this one.
        cert: Maybe<Written<FilePath>>,
        /// Its key, as PEM without passphrase: `{ file = "…" }`, `{ env = "…" }` or `{ credential = "…" }`.
        key: Maybe<SecretRef>,
        /// More certificates. Each host is shown the first that covers it.
        certificate: Vec<Certificate> = [],
    }
}

section! {
    /// A certificate and its key.
    Certificate {
        /// The certificate with its chain, as PEM, relative to this file.
        cert: Maybe<Written<FilePath>>,
        /// Its key; see above.
        key: Maybe<SecretRef>,
    }
}

section! {
    /// Where records are kept. Changes need a restart.
    Storage {
        /// `sqlite:PATH`, relative to this file, or `postgres://…`. May be a secret: `{ file = "…" }`.
        url: SecretRef = "sqlite:/var/lib/cardea/cardea.db",
        /// How long a node serves what it last read when the database does not answer, 1 to 60 seconds. A revocation
        /// on another node takes no longer than this.
        lease: Written<Span> = "15s",
    }
}

section! {
    /// What seals secrets in the records. A key is 32 bytes in base64; as a file it is readable by its owner alone.
    Secrets {
        /// Seals what is written from now on: `{ file = "…" }`, `{ env = "…" }` or `{ credential = "…" }`.
        master_key: SecretRef,
        /// Keys of the past, which still open what they sealed.
        previous_master_keys: Vec<SecretRef> = [],
    }
}

section! {
    /// What is logged.
    Log {
        /// `error`, `warn`, `info`, `debug` or `trace`; parts can differ: `info,cardea::proxy=debug`.
        level: Written<LogLevel> = "info",
        /// How lines look.
        format: Written<LogFormat> = "json",
    }
}

section! {
    /// How long sessions last.
    Session {
        /// Ends a session that is not used.
        idle: Written<Span> = "8h",
        /// Ends every session, used or not.
        absolute: Written<Span> = "24h",
        /// Sessions of one person; a further sign-in ends the oldest.
        per_user: Written<u32> = 10,
    }
}

section! {
    /// How people sign in.
    SignIn {
        /// Where a sign-in ends that was asked for by no app: `apps`, or the name of a route.
        default_landing: Written<Landing> = "apps",
        password_policy: Maybe<PasswordPolicy> = {},
        lockout: Maybe<Lockout> = {},
    }
}

section! {
    /// What a new password must be.
    PasswordPolicy {
        /// Characters, at least 8.
        min_length: Written<u32> = 12,
        /// Refuses passwords that many people use.
        check_common: Written<bool> = true,
    }
}

section! {
    /// What failed sign-ins lead to, for an account and for an address.
    Lockout {
        /// Failures that are free.
        after: Written<u32> = 8,
        /// The first delay; it doubles with every further failure.
        delay: Written<Span> = "1m",
        /// The longest delay.
        limit: Written<Span> = "30m",
        /// Sign-ins through an identity provider that may fail within an hour, from one address, before it must wait as well.
        federated: Written<u32> = 100,
    }
}

section! {
    /// Second factors.
    Mfa {
        /// Who must have one. With `optional`, whoever has set one up is asked for it; with `off` nobody is, except by the
        /// tenants, roles and routes that demand one.
        require: Written<MfaRequire> = "admins",
        /// Which are taken. `recovery` is a set of one-time codes that comes with the others.
        methods: Vec<Written<FactorMethod>> = ["totp", "recovery"],
    }
}

section! {
    /// What the installation calls itself.
    Brand {
        /// On the sign-in page and in titles.
        name: Written<Label> = "Cardea",
    }
}

section! {
    /// A tenant.
    Tenant {
        /// Its name in policies and on the command line.
        slug: Written<Slug>,
        /// Its name for people; by default the slug.
        name: Maybe<Written<Label>>,
        /// Mail domains that it owns. Only addresses in them become sign-in names.
        domains: Vec<Written<Hostname>> = [],
        /// A word of your own about the contract.
        plan: Maybe<Written<Label>>,
        /// Whether every member must use a second factor.
        mfa_required: Written<bool> = false,
        /// The identity provider that its people sign in with. Passwords and other providers then bring none of them in, and open
        /// none of its apps; only administrators with an authenticator still come in with their password, to set things right.
        require_idp: Maybe<Written<Slug>>,
        /// Its organisations.
        org: Vec<Org> = [],
    }
}

section! {
    /// An organisation of a tenant.
    Org {
        /// Its name in policies: `org:TENANT/SLUG`.
        slug: Written<Slug>,
        /// Its name for people; by default the slug.
        name: Maybe<Written<Label>>,
        /// Its departments.
        departments: Vec<Department> = [],
    }
}

section! {
    /// A department of an organisation.
    Department {
        /// Its name in policies: `dept:TENANT/ORG/SLUG`.
        slug: Written<Slug>,
        /// Its name for people; by default the slug.
        name: Maybe<Written<Label>>,
    }
}

section! {
    /// A role: a named set of permissions that can be given at a place.
    Role {
        /// Its name in policies. The built-in names are taken.
        slug: Written<Slug>,
        /// The tenant that can give it; every tenant when absent.
        tenant: Maybe<Written<Slug>>,
        /// Its name for people; by default the slug.
        name: Maybe<Written<Label>>,
        /// What it is for.
        description: Maybe<Written<Label>>,
        /// The widest place at which it can be given.
        scope: Written<Scope> = "tenant",
        /// What it allows: `{ reports = ["read", "export"] }` or `["reports:read", "reports:export"]`. An action `*` is
        /// every action.
        permissions: Permissions = [],
        /// Giving it takes every other role of the person in the tenant away.
        exclusive: Written<bool> = false,
        /// Given to every new member.
        auto_assigned: Written<bool> = false,
        /// Whoever holds it must use a second factor.
        mfa: Written<bool> = false,
        /// The route to land on after sign-in.
        landing: Maybe<Written<Slug>>,
    }
}

section! {
    /// A group of a tenant.
    Group {
        /// Its name in policies: `group:SLUG`.
        slug: Written<Slug>,
        /// Its tenant; can be left out when there is only one.
        tenant: Maybe<Written<Slug>>,
    }
}

section! {
    /// Requests that Cardea makes to addresses which others name, such as those of identity providers. They go over TLS to the
    /// open internet only.
    Outbound {
        /// What may be reached although it is private, on this machine or without TLS: networks, or `HOST:PORT`.
        allow: Vec<Written<Allow>> = [],
    }
}

section! {
    /// An OpenID Connect provider. Register `PUBLIC_URL/auth/sso-callback/NAME` there as the redirect address.
    Idp {
        /// Its name in addresses and policies. Accounts are tied to it: a name is never given to another provider.
        name: Written<Slug>,
        /// What the button says after "Continue with"; by default the name.
        label: Maybe<Written<Label>>,
        /// What it speaks: `oidc` or `saml`.
        r#type: Written<IdpType> = "oidc",
        /// The tenant it belongs to, inside which alone it gives anything. Without, it is a provider of everybody; where there is
        /// one tenant only, that one is meant.
        tenant: Maybe<Written<Slug>>,
        /// For a provider of everybody: where people belong for whom no rule says so.
        default_tenant: Maybe<Written<Slug>>,
        /// The issuer, exactly as the provider writes it, also as to a slash at the end. OpenID Connect needs it.
        issuer: Maybe<Written<Issuer>>,
        /// Who Cardea is to the provider. OpenID Connect needs it; to a SAML provider it is the entity id of ours, by default the
        /// address of our metadata.
        client_id: Maybe<Written<String>>,
        /// SAML: the provider's metadata, an address or a file, relative to this one. With an address, `entity_id` says who it must be.
        metadata: Maybe<Written<MetadataPlace>>,
        /// SAML: who the provider is, exactly as it writes it. A file of metadata says it itself.
        entity_id: Maybe<Written<Label>>,
        /// SAML, without metadata: where people are sent to sign in.
        sso_url: Maybe<Written<SsoUrl>>,
        /// SAML, without metadata: files with the certificates, as PEM, that verify the provider's signatures, relative to this one.
        /// Several while it changes them.
        certificate: Vec<Written<FilePath>> = [],
        /// SAML: what a response must bring: `signed-assertion`, `signed-response`, `encrypted-assertion`. Something signed by the
        /// provider it must always bring.
        want: Vec<Written<WantPart>> = [],
        /// SAML: the kind of name that is asked for: `persistent`, `email`, `unspecified`, or `transient`, which needs
        /// `attributes.subject`. By default none is asked for.
        name_id: Maybe<Written<NameIdKind>>,
        /// SAML: whether requests are signed also where the provider's metadata does not ask for it.
        sign_requests: Written<bool> = false,
        /// SAML: how far the clocks may be apart, at most 3 minutes.
        clock_skew: Written<Span> = "60s",
        /// How it proves that: `{ file = "…" }`, `{ env = "…" }` or `{ credential = "…" }`.
        client_secret: Maybe<SecretRef>,
        /// How that is shown: `client_secret_basic`, `client_secret_post`, `private_key_jwt` with `client_key`, or `none` for a public
        /// client.
        client_auth: Written<ClientAuth> = "client_secret_basic",
        /// The private key of `private_key_jwt`, as PEM: `{ file = "…" }`. The provider finds its public half at
        /// `PUBLIC_URL/auth/oidc/NAME/jwks.json`; a certificate in the same file is named to it (`x5t#S256`).
        client_key: Maybe<SecretRef>,
        /// What an RSA key signs with: `RS256` unless this says otherwise. Other keys have one algorithm.
        client_key_algorithm: Maybe<Written<Algorithm>>,
        /// Whom the signed proof names as its reader: the `issuer`, or the address of the `token_endpoint` where the provider wants that,
        /// as Microsoft Entra and Okta do.
        client_audience: Written<Audience> = "issuer",
        /// The authorities that may vouch for the provider's certificate, as a PEM file, in place of those of the machine.
        ca: Maybe<Written<FilePath>>,
        /// What is asked for.
        scopes: Vec<Written<String>> = ["openid", "email", "profile"],
        /// Signature algorithms of ID tokens that are taken: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`,
        /// `ES384`, `EdDSA`.
        algorithms: Vec<Written<Algorithm>> = ["RS256", "PS256", "ES256", "EdDSA"],
        /// How the answer comes back: `query`, or `form_post`.
        response_mode: Written<ResponseMode> = "query",
        /// Mail domains whose people are led to this provider when they type their address. A tenant must own each.
        domains: Vec<Written<Hostname>> = [],
        /// Whether the provider speaks for the addresses in `domains`. Then a verified one becomes a sign-in name and goes to apps,
        /// and opens the account that has it, unless that is an administrator's.
        authoritative: Written<bool> = false,
        /// What happens when somebody comes for the first time: `create` an account; `update`, the same, and name and address
        /// follow the provider; `link-only`, nobody new; `off`, only who is known already.
        provision: Written<Provision> = "create",
        attributes: Maybe<IdpAttributes> = {},
        /// Claims besides `email` whose addresses the provider verifies before it says them, such as the `upn` of a directory that
        /// only administrators write to. Addresses in other claims count only if `email_verified` speaks of them.
        verified_claims: Vec<Written<String>> = [],
        /// What claims give. All that match add up; at each sign-in they replace what was given by them before.
        rule: Vec<IdpRule> = [],
        /// Values of `amr` that count as the second factor. Otherwise Cardea asks for its own.
        trust_mfa: Vec<Written<String>> = [],
        /// Values of `acr` that count as the second factor.
        trust_acr: Vec<Written<String>> = [],
        /// Contexts that are asked for, one of which must have been met.
        acr_values: Vec<Written<String>> = [],
        /// How long ago people may have signed in at the provider.
        max_age: Maybe<Written<Span>>,
        /// What happens when the provider leaves `groups` out because there are too many: `refuse` the sign-in, or ask Microsoft
        /// `graph` for them, with the person's own token.
        groups_overage: Written<GroupsOverage> = "refuse",
        /// Where Microsoft Graph is.
        graph_url: Written<Issuer> = "https://graph.microsoft.com",
        /// Whether signing out signs out at the provider as well, where it has a page for that. The page that asks offers both.
        sign_out: Written<bool> = true,
        /// Whether a session lasts only as long as the provider stands by it: it is asked with the refresh token (scope
        /// `offline_access` at most providers), or else with the access token by introspection. A refusal ends the session.
        follow_session: Written<bool> = false,
        /// How often it is asked, 10 seconds to a day.
        follow_every: Written<Span> = "5m",
        /// How long a session goes on while the provider does not answer, up to a day.
        follow_grace: Written<Span> = "1h",
    }
}

section! {
    /// Which claim is which attribute: a name, or names with dots between for claims inside one another.
    IdpAttributes {
        /// The address. It counts as verified only with `email_verified`, or if `verified_claims` has the claim.
        email: Written<String> = "email",
        /// How the person is called.
        name: Written<String> = "name",
        /// What the username of a new account is made of.
        username: Written<String> = "preferred_username",
        /// SAML: the attribute by which people are known, in place of the `NameID`. It must never change and never be given to somebody
        /// else.
        subject: Maybe<Written<String>>,
    }
}

section! {
    /// What a claim gives.
    IdpRule {
        /// The claim: a name, or names with dots between. An address in it counts only if it is verified.
        claim: Written<String>,
        /// It is this, or a list that has this; without `has` and `ends_with` it need only be there.
        has: Maybe<Written<String>>,
        /// It ends so, or an entry of the list does.
        ends_with: Maybe<Written<String>>,
        /// The place at which it gives roles; by default the tenant.
        at: Maybe<Written<PlacePath>>,
        /// The place in which it makes people members; by default the tenant itself.
        joins: Maybe<Written<PlacePath>>,
        /// Roles that it gives.
        roles: Vec<Written<Slug>> = [],
        /// Groups that it gives.
        groups: Vec<Written<Slug>> = [],
    }
}

section! {
    /// Which requests go to which upstream, and under which policy. Either it has rules, or one of `allow`, `needs` and
    /// `public` of its own.
    Route {
        /// Its name, unique; by default the first part of the host.
        name: Maybe<Written<Slug>>,
        /// The app's name for people; by default the name.
        title: Maybe<Written<Label>>,
        /// One line about the app, on its tile.
        about: Maybe<Written<Label>>,
        /// The host it answers on.
        host: Written<Hostname>,
        /// The path under which it answers, with everything below; by default the whole host. It is passed on as it is
        /// unless `rewrite` says otherwise.
        path: Written<Prefix> = "/",
        /// What takes the place of `path` on the way to the upstream: `/` takes it away, `/base` puts another path there.
        /// Policies are about the path before that. Where the app sends people (`Location`, `Content-Location`) is turned
        /// back; addresses in its pages are left as they are.
        rewrite: Maybe<Written<Prefix>>,
        /// What everybody reads while the app is worked on, with status 503; then nothing reaches it.
        maintenance: Maybe<Written<Label>>,
        /// Where requests go: one or more of `http://HOST:PORT` and `https://HOST:PORT`. Over `https` the upstream must prove
        /// its name; there is no way back to plain HTTP. `{ url = "http://…", drain = true }` gets no new requests, and ends
        /// those it has. Needed unless `forward_auth` is set.
        to: Vec<To> = [],
        /// Which of several addresses is next: `round-robin`, one after another, or `least-busy`, the one with the fewest
        /// requests in flight on the same thread.
        balance: Written<Balance> = "round-robin",
        health: Maybe<Health>,
        upstream_tls: Maybe<UpstreamTls>,
        /// What the upstreams speak: `http1`, or `http2`, which gRPC needs. Over `https` they must agree to it; over `http` they
        /// must know it beforehand. Clients come with whichever they like. WebSockets need `http1`.
        upstream_protocol: Written<Protocol> = "http1",
        /// Whether another proxy forwards the requests and asks here about each, at `server.forward_auth_listen`. Then
        /// there is no `to`: what comes to this route by itself is answered only below `/.cardea/`.
        forward_auth: Written<bool> = false,
        /// The tenant whose app it is; can be left out when there is only one. `""` is none: then policies name
        /// groups, roles and permissions with their tenant.
        tenant: Maybe<Written<TenantRef>>,
        /// The place at which permissions must hold; by default the tenant.
        at: Maybe<Written<PlacePath>>,
        /// Who may pass, any one of these: `signed-in`, `user:NAME`, `group:NAME`, `role:NAME`, `role:NAME@PLACE`,
        /// `tenant:NAME`, `org:PLACE`, `dept:PLACE`, `domain:NAME`, `idp:NAME` for whoever signed in with that provider.
        allow: Maybe<Vec<Written<Who>>>,
        /// The permission that is needed: `resource:action`, perhaps `@PLACE`. With `allow`, both must hold.
        needs: Maybe<Written<Needs>>,
        /// Whether everybody passes, without sign-in.
        public: Written<bool> = false,
        /// Who may not, whatever else says so. Written as in `allow`; a tenant, place or role that does not exist keeps everybody out.
        deny: Vec<Written<Who>> = [],
        /// What must hold besides, all of it: `mfa`, `mfa<15m`, `session<8h`, `net:NAME`.
        require: Vec<Written<How>> = [],
        /// Rules for parts of the app. The first whose path and methods match decides; where none matches nobody
        /// passes.
        rule: Vec<Rule> = [],
        /// Which headers tell the upstream who it is: `cardea`, `oauth2-proxy`, `authelia`, `authentik`, `pomerium`,
        /// `iap`, `cloudflare`, `none`, or a table of your own, `{ X-User = "username" }`.
        headers: Headers = "cardea",
        /// Headers that the upstream receives with every request, in place of the client's of the same name:
        /// `{ X-Site = "main" }`. Not those that belong to the connection or carry identity.
        set_headers: HeaderLines = {},
        /// Headers of clients that the upstream does not receive, in whatever spelling.
        remove_headers: Vec<Written<HeaderName>> = [],
        /// Headers that the client receives with every answer of the upstream, in place of the upstream's:
        /// `{ X-Frame-Options = "DENY" }`. `private_answers` has the last word on `Cache-Control`.
        set_answer_headers: HeaderLines = {},
        /// Headers of the upstream that the client does not receive.
        remove_answer_headers: Vec<Written<HeaderName>> = [],
        /// What somebody reads who may not pass: whom to ask.
        help: Maybe<Written<Label>>,
        /// Whether those who may pass see a tile.
        listed: Written<bool> = true,
        /// Whether a refusal says what is lacking.
        explain_refusals: Written<bool> = true,
        /// Spellings of paths that the upstream is known to read in one way: `double-encoding`, `double-slash`,
        /// `encoded-slash`, `lookalike`, `semicolon`. Others are refused.
        unusual_paths: Vec<Written<UnusualName>> = [],
        /// Whether `/Admin` and `/admin` are different to the upstream. Where nobody says so and it would matter, the
        /// request is refused.
        case: Maybe<Written<HostCase>>,
        /// Whether the upstream receives the host that the browser asked for; otherwise its own.
        pass_host: Written<bool> = true,
        /// Whether answers to signed-in people are kept out of shared caches.
        private_answers: Written<bool> = true,
        /// Whether WebSockets are passed on, to whoever may open the page that asks for one.
        websocket: Written<bool> = false,
        /// Sites whose pages may open a WebSocket here, besides the app's own. Programs that are no browsers name none and
        /// need not be in here.
        origins: Vec<Written<SiteOrigin>> = [],
        timeout: Maybe<Timeout> = {},
        /// How long an assertion is valid, at most 5 minutes.
        assertion_life: Written<Span> = "60s",
    }
}

section! {
    /// How `https` upstreams are verified, and who Cardea is to them. Files are read again when they change.
    UpstreamTls {
        /// The authorities that may vouch for the upstream, as PEM, in place of those that the machine trusts.
        ca: Maybe<Written<FilePath>>,
        /// A certificate to show to the upstream, with its chain, as PEM.
        cert: Maybe<Written<FilePath>>,
        /// The key of that certificate; see `tls.key`.
        key: Maybe<SecretRef>,
        /// The name that the upstream must prove; by default the host of its address.
        server_name: Maybe<Written<Hostname>>,
    }
}

section! {
    /// How each address of `to` is asked whether it is well. Whoever is not is passed over while anybody else is; where nobody
    /// is, requests go there all the same. The first answer counts at once.
    Health {
        /// What is asked for, with GET. It carries `Cardea-Probe: 1` and says nothing about anybody.
        path: Written<ProbePath>,
        /// How often.
        every: Written<Span> = "10s",
        /// How long it may take, with the connection.
        timeout: Written<Span> = "2s",
        /// Good answers in a row that make an address well again.
        healthy: Written<u32> = 2,
        /// Failures in a row until it is passed over.
        unhealthy: Written<u32> = 3,
        /// Which statuses are good; every `2xx` when empty.
        status: Vec<Written<u32>> = [],
    }
}

section! {
    /// How long to wait for an upstream.
    Timeout {
        /// Until it has taken the connection.
        connect: Written<Span> = "3s",
        /// Until its answer begins, from the last piece of the request that came: a client that sends nothing more of a body
        /// for so long is not waited for either. Bodies may take as long as they like while they move.
        request: Written<Span> = "60s",
        /// Until an answer ends in whose middle nothing passes in either direction. Events (`text/event-stream`), gRPC and
        /// moving pictures may be silent.
        idle: Written<Span> = "10m",
        /// Until a WebSocket ends on which nothing passes in either direction.
        websocket: Written<Span> = "1h",
    }
}

section! {
    /// A rule for a part of a route.
    Rule {
        /// `/exact`, or `/prefix/*`, which covers `/prefix` as well.
        path: Written<PathPattern> = "/*",
        /// Which methods; any when absent.
        methods: Maybe<Vec<Written<Method>>>,
        /// Who may pass; see the route.
        allow: Maybe<Vec<Written<Who>>>,
        /// The permission that is needed; see the route.
        needs: Maybe<Written<Needs>>,
        /// Whether everybody passes, without sign-in.
        public: Written<bool> = false,
        /// Who may not; see the route.
        deny: Vec<Written<Who>> = [],
        /// What must hold besides, with what the route requires. `method:GET,HEAD` is another way to write `methods`.
        require: Vec<Written<How>> = [],
    }
}

/// How somebody comes by the value of a key that is missing, by the path of the key, where that is not plain.
pub(super) fn how_to_get(path: &str) -> Option<&'static str> {
    (path == "secrets.master_key").then_some(
        "make one with `(umask 077; openssl rand -base64 32 > master.key)`, and write under [secrets] \
         master_key = { file = \"master.key\" }; `cardea init` does both for a new configuration",
    )
}

/// What a key that is still to come would do, by the path of the key. Everything below it is still to come, too.
pub(super) fn not_built(path: &str) -> Option<&'static str> {
    NOT_BUILT
        .iter()
        .find(|(key, _)| path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        .map(|(_, what)| *what)
}

const NOT_BUILT: [(&str, &str); 28] = [
    ("brand.accent", "a colour of your own"),
    ("brand.help_url", "a link to your own help"),
    ("brand.logo", "a logo of your own"),
    ("budget", "budgets"),
    ("log.otlp", "traces over OTLP"),
    ("mail", "mail"),
    ("mfa.grace", "a time to enrol in"),
    ("mfa.remember", "remembered devices"),
    ("route.body_limit", "a limit for bodies"),
    ("route.budget", "budgets"),
    ("route.rule.budget", "budgets"),
    ("route.rule.hours", "times of day"),
    ("server.body_limit", "a limit for bodies"),
    ("session.console_fresh", "a fresh factor for the console"),
    ("session.remember_me", "long sessions"),
    ("settings", "settings of the console"),
    ("sign_in.passkeys", "passkeys"),
    ("sign_in.password", "sign-in without passwords"),
    ("sign_in.password_policy.check_breached", "it is called check_common here"),
    ("sign_in.password_policy.history", "a memory of old passwords"),
    ("sign_in.password_policy.max_age", "passwords that run out"),
    ("sign_in.registration", "registration"),
    ("tls.acme", "certificates by ACME"),
    ("tls.min_version", "a choice of versions; it is TLS 1.2 and 1.3"),
    ("webhook", "webhooks"),
    ("api_key", "API keys"),
    ("bootstrap", "a first administrator in the file; set ADMIN_USER and ADMIN_PASSWORD"),
    ("scim", "provisioning by SCIM"),
];
