//! Every page with sample data, plain and hostile, for the tests and for looking at.

use super::*;

/// What somebody who means harm would call themselves.
pub(super) const HOSTILE: &str = "\"><script>alert(1)</script>'&{{7*7}}\u{202e}gpj.exe ﷽ Donaudampfschifffahrtsgesellschaftskapitaensmuetzenabzeichen";

/// The words a sample is filled with.
struct Words {
    title: String,
    host: String,
    name: String,
    username: String,
    email: String,
    sentence: String,
}

impl Words {
    fn plain() -> Self {
        Self {
            title: "Reports".into(),
            host: "reports.example.com".into(),
            name: "Grace Hopper".into(),
            username: "grace".into(),
            email: "grace@acme.example".into(),
            sentence: "Ask the finance service desk for access.".into(),
        }
    }

    fn hostile() -> Self {
        let text = || HOSTILE.to_owned();
        Self { title: text(), host: text(), name: text(), username: text(), email: text(), sentence: text() }
    }
}

fn frame(words: &Words, theme: Theme) -> Frame {
    let product = if words.name == HOSTILE { HOSTILE } else { "Acme Access" };
    Frame { theme, demo: words.name == HOSTILE, ..Frame::on_portal(product, "csrf-token") }
}

fn moment(day: u8) -> Moment {
    Moment::new(format!("2025-11-{day:02}T14:02:00Z"), format!("{day} Nov 2025, 14:02 UTC"))
}

fn rules(kept: Option<bool>) -> Vec<PasswordRule> {
    vec![
        PasswordRule { text: "At least 12 characters".into(), kept: kept.map(|_| true) },
        PasswordRule { text: "Not on the list of common passwords".into(), kept },
        PasswordRule { text: "Not your name, username or e-mail".into(), kept: kept.map(|_| true) },
    ]
}

/// Name and HTML of every page.
pub(super) fn samples(theme: Theme) -> Vec<(String, String)> {
    let mut all = pages(&Words::plain(), theme, "");
    all.extend(pages(&Words::hostile(), theme, "hostile-"));
    all
}

#[allow(clippy::too_many_lines, reason = "a list of samples is long and has no other structure")]
fn pages(w: &Words, theme: Theme, prefix: &str) -> Vec<(String, String)> {
    let plain = || frame(w, theme);
    let signed_in = || frame(w, theme).for_person(PersonMenu::new(&w.name, &w.username));
    let on_route = || Frame { theme, ..Frame::on_route("Acme Access", "https://access.example.com") };
    let destination = || Some(Destination { title: w.title.clone(), host: w.host.clone() });
    let flow = || "flow-reference".to_owned();
    let some = |text: &str| Some(text.to_owned());
    let clauses = || {
        vec![
            Clause::held("You are in the right company"),
            Clause::failed(
                format!(
                    "You need the permission {}",
                    if prefix.is_empty() { "reports:admin" } else { HOSTILE }
                ),
                some("You have reports:read and reports:export"),
            ),
            Clause::failed("This page opens only from the office network", None),
        ]
    };
    let session = |id: &str, browser: &str, current| SessionRow {
        id: id.into(),
        browser: if prefix.is_empty() { browser.into() } else { HOSTILE.into() },
        address: "2001:db8:85a3:8d3:1319:8a2e:370:7348".into(),
        method: "Password and code".into(),
        apps: if current { vec![] } else { vec![w.title.clone(), "Wiki".into(), "Grafana".into()] },
        started: moment(20),
        last_seen: moment(21),
        current,
    };
    let declined = |kind| ProviderDeclined {
        frame: plain(),
        provider: "Microsoft".into(),
        kind,
        back_href: "/sign-in".into(),
        reference: "K7M3QX2RVB4DNTWA".into(),
        at: moment(21),
    };
    let tie = |unlinks, only_way_in| ProviderTie {
        frame: plain(),
        provider: w.title.clone(),
        name: "entra".into(),
        unlinks,
        only_way_in,
    };
    let error = |kind| ErrorPage {
        frame: plain(),
        kind,
        app: Some(w.title.clone()),
        reference: some("R-4F2K-9QXM"),
        at: Some(moment(21)),
        apps_href: some("/apps"),
        retry_href: some("/"),
        ..ErrorPage::default()
    };
    let tile = |title: &str, description: &str, host: &str| AppTile {
        title: title.into(),
        description: description.into(),
        host: host.into(),
        href: format!("https://{host}/"),
        ..AppTile::default()
    };
    let headers = || {
        [
            ("Cardea-User", "019aa6f2-7c1e-7d33-9a41-5b0c2f6e8d10"),
            ("Cardea-Username", w.username.as_str()),
            ("Cardea-Email", w.email.as_str()),
            ("Cardea-Name", "Grace%20Hopper"),
            ("Cardea-Groups", "staff,finance"),
            ("Cardea-Roles", "analyst@acme,viewer@acme/europe"),
            ("Cardea-Tenant", "acme"),
            ("Cardea-Auth", "pwd+totp"),
            ("Cardea-Request-Id", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("Cardea-Assertion", "eyJhbGciOiJFUzI1NiIsImtpZCI6IjIwMjUtMTEtMjEiLCJ0eXAiOiJjYXJkZWErand0In0.eyJhdWQiOiJodHRwOi8vbGFudGVybi5jYXJkZWEubG9jYWxob3N0Ojg2MDAiLCJzdWIiOiIwMTlhYTZmMiJ9.MEUCIQDc0lkpXm0f3"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    };
    let lantern = || {
        Lantern {
        frame: Frame { theme, demo: true, ..Frame::on_route("Acme Access", "http://access.cardea.localhost:8600") },
        request: "GET /".into(),
        person: Some(LanternPerson {
            name: w.name.clone(),
            username: w.username.clone(),
            email: Some(w.email.clone()),
            tenant: some("acme"),
            roles: vec!["analyst@acme".into(), "viewer@acme/europe".into()],
            groups: vec!["staff".into(), w.title.clone()],
        }),
        refused: None,
        headers: headers(),
        others: vec![("accept".into(), w.sentence.clone())],
        checks: vec![
            Check::passed("Present", "One Cardea-Assertion header, three parts."),
            Check::passed("Type", "cardea+jwt, as it must be."),
            Check::passed("Signature", "ES256, by key 2025-11-21 of this host’s key set."),
            Check::passed("Issuer", "http://access.cardea.localhost:8600"),
            Check::passed("Audience", "http://lantern.cardea.localhost:8600, which is this app."),
            Check::passed("Route", "lantern"),
            Check::passed("Time", "Valid from 30 seconds ago for another 48 seconds."),
            Check::passed("Headers", "User, name and roles say the same as the assertion."),
        ],
        jwt_header: some(r#"{"alg":"ES256","kid":"2025-11-21","typ":"cardea+jwt"}"#),
        jwt_claims: Some(
            serde_json::json!({
                "iss": "http://access.cardea.localhost:8600", "aud": "http://lantern.cardea.localhost:8600",
                "sub": "019aa6f2-7c1e-7d33-9a41-5b0c2f6e8d10", "name": w.name, "username": w.username, "email": w.email,
                "tenant": "acme", "roles": ["analyst@acme", "viewer@acme/europe"], "groups": ["staff", "finance"],
                "amr": ["pwd", "otp"], "acr": "2", "iat": 1_763_733_720, "nbf": 1_763_733_690, "exp": 1_763_733_780,
            })
            .to_string(),
        ),
        apps_href: some("http://access.cardea.localhost:8600/apps"),
        sign_out_href: some("/.cardea/sign-out"),
    }
    };

    let list = vec![
        ("sign-in", SignIn { frame: plain(), return_to: "sealed".into(), destination: destination(), ..SignIn::default() }.render()),
        (
            "sign-in-providers",
            SignIn {
                frame: plain(),
                return_to: "sealed".into(),
                identifier: w.username.clone(),
                providers: vec![
                    Provider { name: if prefix.is_empty() { "Microsoft (Acme)".into() } else { HOSTILE.into() }, href: "/auth/start/entra".into(), away: true },
                    Provider { name: "Demo SAML".into(), href: "javascript:alert(1)".into(), away: false },
                ],
                ..SignIn::default()
            }
            .render(),
        ),
        (
            "sign-in-error",
            SignIn {
                frame: plain(),
                identifier: w.username.clone(),
                error: Some("Type your e-mail or username to continue.".into()),
                notice: Some("You were away for 8 hours, so we signed you out. Sign in to continue where you were.".into()),
                ..SignIn::default()
            }
            .render(),
        ),
        (
            "password",
            Password { frame: plain(), flow: flow(), identifier: w.email.clone(), change_href: "/sign-in".into(), destination: destination(), error: None }
                .render(),
        ),
        (
            "password-error",
            Password {
                frame: plain(),
                flow: flow(),
                identifier: w.email.clone(),
                change_href: "/sign-in".into(),
                destination: None,
                error: Some("That username and password don’t match. Check Caps Lock and try again.".into()),
            }
            .render(),
        ),
        (
            "verify",
            Verify {
                frame: plain(),
                flow: flow(),
                identifier: w.email.clone(),
                reason: Some(format!("{} asks for a fresh code.", w.title)),
                recovery_href: some("/sign-in/recovery?flow=x"),
                cancel_href: "/apps".into(),
                error: None,
            }
            .render(),
        ),
        (
            "verify-error",
            Verify {
                frame: plain(),
                flow: flow(),
                identifier: w.email.clone(),
                cancel_href: "/sign-in".into(),
                error: some("That code was used already. Wait for the next one and type that."),
                ..Verify::default()
            }
            .render(),
        ),
        (
            "recovery",
            Recovery { frame: plain(), flow: flow(), identifier: w.email.clone(), verify_href: "/sign-in/verify".into(), cancel_href: "/sign-in".into(), error: None }
                .render(),
        ),
        (
            "tenant",
            TenantChoice {
                frame: plain(),
                flow: flow(),
                identifier: w.email.clone(),
                tenants: vec![
                    TenantOption { value: "acme".into(), name: if prefix.is_empty() { "Acme".into() } else { HOSTILE.into() }, roles: "analyst, viewer".into(), last_used: some("yesterday"), selected: true, ..TenantOption::default() },
                    TenantOption { value: "globex".into(), name: "Globex Europe".into(), roles: "contractor".into(), ..TenantOption::default() },
                    TenantOption { value: "initech".into(), name: "Initech".into(), unavailable: some("Suspended until 1 December"), ..TenantOption::default() },
                ],
                can_remember: true,
                cancel_href: "/sign-in".into(),
                error: None,
            }
            .render(),
        ),
        ("continue", Continue { frame: plain(), to: w.title.clone(), href: "https://reports.example.com/?a=1&b=\"".into() }.render()),
        ("setup", Setup { frame: plain(), action: "/setup/token".into(), rules: rules(None), ..Setup::default() }.render()),
        (
            "setup-error",
            Setup {
                frame: plain(),
                action: "/setup/token".into(),
                name: w.name.clone(),
                email: w.email.clone(),
                username: w.username.clone(),
                rules: rules(Some(false)),
                problems: vec![
                    Problem::field("username", format!("The username “{}” has letters that are not allowed. Use a to z, 0 to 9, hyphen, underscore and dot.", w.username)),
                    Problem::field("password", "That password is on the list of common passwords. Choose another."),
                ],
            }
            .render(),
        ),
        (
            "setup-done",
            SetupDone { frame: plain(), username: w.username.clone(), sign_in_href: "/sign-in".into(), steps: SetupDone::usual_steps("cardea.toml", "acme", &w.username) }.render(),
        ),
        ("setup-expired", SetupExpired { frame: plain(), command: "cardea admin invite".into() }.render()),
        (
            "password-change",
            PasswordChange { frame: plain(), username: w.username.clone(), ask_current: true, sign_out_others: true, rules: rules(None), ..PasswordChange::default() }
                .render(),
        ),
        (
            "password-forced",
            PasswordChange {
                frame: plain(),
                flow: Some(flow()),
                username: w.username.clone(),
                forced: some("An administrator set your password. Choose one that only you know before you go on."),
                sign_out_others: true,
                rules: rules(Some(false)),
                problems: vec![Problem::field("password", "That password is on the list of common passwords. Choose another.")],
                ..PasswordChange::default()
            }
            .render(),
        ),
        (
            "password-set",
            PasswordSet { frame: plain(), action: "/password/set/token".into(), username: w.username.clone(), expires: Some(moment(22)), rules: rules(None), problems: vec![] }
                .render(),
        ),
        ("password-link-expired", PasswordLinkDead { frame: plain(), problem: LinkProblem::Expired, sign_in_href: "/sign-in".into() }.render()),
        ("password-link-used", PasswordLinkDead { frame: plain(), problem: LinkProblem::Used, sign_in_href: "/sign-in".into() }.render()),
        ("password-link-unknown", PasswordLinkDead { frame: plain(), problem: LinkProblem::Unknown, sign_in_href: "/sign-in".into() }.render()),
        (
            "totp",
            TotpEnrol {
                frame: plain(),
                qr: QrCode::new("otpauth://totp/Acme%20Access:grace?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Acme%20Access"),
                key: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP".into(),
                account: format!("{} at Acme Access", w.username),
                cancel_href: some("/me"),
                ..TotpEnrol::default()
            }
            .render(),
        ),
        (
            "totp-error",
            TotpEnrol {
                frame: plain(),
                flow: Some(flow()),
                forced: some("Your company asks for a second factor."),
                qr: QrCode::new("otpauth://totp/Acme%20Access:grace?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Acme%20Access"),
                key: "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP".into(),
                account: format!("{} at Acme Access", w.username),
                ask_enrol_code: true,
                problems: vec![Problem::field("code", "That code has expired. Wait for the next one and type that.")],
                ..TotpEnrol::default()
            }
            .render(),
        ),
        ("totp-remove", TotpRemove { frame: signed_in(), consequence: Some(format!("{} will not open without a code.", w.title)), cancel_href: "/me".into() }.render()),
        (
            "recovery-codes",
            RecoveryCodes {
                frame: plain(),
                action: "/me/security/recovery".into(),
                username: w.username.clone(),
                codes: (0..10).map(|n| format!("k7mq-{n}x3p-vd9{n}")).collect(),
                replaced: !prefix.is_empty(),
                ..RecoveryCodes::default()
            }
            .render(),
        ),
        (
            "apps",
            Apps {
                frame: signed_in(),
                apps: vec![
                    tile("Wiki", "Team notes and how things are done", "wiki.example.com"),
                    AppTile { asks_code: true, ..tile(&w.title, "Figures of the month, and everything that led to them", &w.host) },
                    AppTile { asks_code: true, ..tile("Grafana", "Dashboards", "grafana.example.com") },
                    AppTile { down: true, ..tile("CRM", "Customers and offers", "crm.example.com") },
                    tile("Lantern", "Shows what an app receives", "lantern.cardea.localhost:8600"),
                ],
                notice: None,
            }
            .render(),
        ),
        ("apps-empty", Apps { frame: signed_in(), apps: vec![], notice: Some(Notice::ok("Your password is changed. Your other sessions are signed out.")) }.render()),
        (
            "account",
            Account {
                frame: signed_in(),
                name: w.name.clone(),
                username: w.username.clone(),
                email: Some(w.email.clone()),
                email_verified: true,
                memberships: vec![("Acme".into(), "analyst, viewer".into()), ("Globex Europe".into(), String::new())],
                password_changed: Some(moment(3)),
                has_password: true,
                totp_since: Some(moment(4)),
                totp_offered: true,
                totp_removable: true,
                recovery_left: Some(2),
                providers: vec![
                    LinkedProvider { label: w.title.clone(), name: "entra".into(), since: Some(moment(5)) },
                    LinkedProvider { label: "Google".into(), name: "go/../ogle".into(), since: None },
                ],
                sessions: 3,
                ..Account::default()
            }
            .render(),
        ),
        (
            "account-bare",
            Account {
                frame: Frame { demo: true, ..signed_in() },
                name: w.name.clone(),
                username: w.username.clone(),
                managed_by: some("Microsoft (Acme)"),
                sessions: 1,
                notice: Some(Notice::warn("Your authenticator app was reset by an administrator.")),
                ..Account::default()
            }
            .render(),
        ),
        (
            "sessions",
            Sessions {
                frame: signed_in(),
                rows: vec![session("a", "Firefox on Linux", true), session("b/../c", "Safari on iPhone", false), session("c", "Chrome on Windows", false)],
                notice: Some(Notice::ok("The session on Edge is ended.")),
            }
            .render(),
        ),
        ("link", tie(false, false).render()),
        ("unlink", tie(true, false).render()),
        ("unlink-only", tie(true, true).render()),
        ("sign-out", SignOut { frame: signed_in(), action: "/sign-out".into(), identity: w.email.clone(), cancel_href: "/apps".into(), return_to: Some(w.title.clone()), provider: some("Microsoft (Acme)") }.render()),
        ("signed-out", SignedOut { frame: plain(), sign_in_href: "/sign-in".into(), still_at: some("Microsoft (Acme)"), apps: vec![w.title.clone(), "Reports".into()], ..SignedOut::default() }.render()),
        ("provider-chooser", ProviderChooser { frame: plain(), guests: vec![GuestLink { name: w.title.clone(), about: w.sentence.clone(), href: "/choose?guest=1".into(), present: true }] }.render()),
        ("provider-home", ProviderHome { frame: plain(), who: Some(w.title.clone()), apps_href: "/apps".into() }.render()),
        ("signed-out-everywhere", SignedOut { frame: plain(), sign_in_href: "/sign-in".into(), also_at: Some(w.title.clone()), ..SignedOut::default() }.render()),
        (
            "denied",
            Denied {
                frame: plain(),
                app: Some(if prefix.is_empty() { "Reports – administration".into() } else { HOSTILE.into() }),
                identity: Some(w.email.clone()),
                identity_detail: some("Acme, via Microsoft"),
                clauses: clauses(),
                help: Some(w.sentence.clone()),
                switch: Some(Action::Post { action: "/sign-out".into() }),
                apps_href: some("/apps"),
                reference: "D-7K3M-Q2XR".into(),
                at: moment(21),
            }
            .render(),
        ),
        (
            "denied-on-route",
            Denied {
                frame: on_route(),
                identity: Some(w.email.clone()),
                switch: Some(Action::Link { href: "/.cardea/sign-out".into() }),
                reference: "D-7K3M-Q2XR".into(),
                at: moment(21),
                ..Denied::default()
            }
            .render(),
        ),
        ("unauthorized", Unauthorized { frame: on_route(), app: Some(w.title.clone()), sign_in_href: "https://access.example.com/sign-in".into() }.render()),
        ("cookies-refused", CookiesRefused { frame: plain(), host: w.host.clone(), retry_href: "/sign-in".into() }.render()),
        (
            "decision",
            Decision {
                frame: plain(),
                reference: "D-7K3M-Q2XR".into(),
                outcome: Outcome::Denied,
                method: "GET".into(),
                address: "https://reports.example.com/admin/users".into(),
                identity: w.email.clone(),
                app: Some(w.title.clone()),
                rule: some("Rule 2 of reports"),
                clauses: clauses(),
                at: moment(21),
                command: some("cardea explain D-7K3M-Q2XR"),
            }
            .render(),
        ),
        ("error-400", ErrorPage { detail: some("Addresses with %2F open only if the route allows them (encoded_slash)."), ..error(ErrorKind::BadRequest) }.render()),
        ("error-403", error(ErrorKind::ForeignForm).render()),
        ("error-404", error(ErrorKind::NotFound).render()),
        ("error-404-app", ErrorPage { app: None, apps_href: None, ..error(ErrorKind::NoSuchApp) }.render()),
        ("error-405", error(ErrorKind::MethodNotAllowed).render()),
        ("error-413", error(ErrorKind::TooLarge).render()),
        ("error-421", error(ErrorKind::Misdirected).render()),
        ("error-429", ErrorPage { retry: some("Try again in 40 seconds."), ..error(ErrorKind::TooManyRequests) }.render()),
        ("error-500", error(ErrorKind::Internal).render()),
        ("error-502", ErrorPage { frame: on_route(), ..error(ErrorKind::BadGateway) }.render()),
        ("error-503", ErrorPage { app: None, retry: some("Try again in 15 seconds."), ..error(ErrorKind::Unavailable) }.render()),
        ("error-503-maintenance", ErrorPage { app: None, detail: some("Back at 14:00."), ..error(ErrorKind::Maintenance) }.render()),
        ("error-504", ErrorPage { app: None, ..error(ErrorKind::GatewayTimeout) }.render()),
        ("provider-declined", declined(DeclinedKind::Refused).render()),
        ("provider-declined-another", declined(DeclinedKind::Another).render()),
        ("provider-declined-away", declined(DeclinedKind::Away).render()),
        ("provider-declined-crowded", declined(DeclinedKind::Crowded).render()),
        ("provider-declined-untied", declined(DeclinedKind::Untied).render()),
        ("provider-declined-cancelled", declined(DeclinedKind::Cancelled).render()),
        ("provider-declined-stopped", declined(DeclinedKind::Stopped).render()),
        ("rehearsed", Rehearsed { frame: plain() }.render()),
        ("start-again", StartAgain { frame: plain(), href: "/sign-in".into() }.render()),
        ("lantern", lantern().render()),
        (
            "lantern-public",
            Lantern { person: None, headers: vec![], checks: vec![], jwt_claims: None, jwt_header: None, sign_out_href: None, request: "GET /open".into(), ..lantern() }.render(),
        ),
        (
            "lantern-refused",
            Lantern {
                person: None,
                refused: some("This request carries an assertion that was made for another app, so nobody is let in."),
                checks: vec![
                    Check::passed("Present", "One Cardea-Assertion header, three parts."),
                    Check::passed("Signature", "ES256, by key 2025-11-21."),
                    Check::failed("Audience", format!("Made for {}, not for this app.", w.host)),
                    Check::skipped("Route"),
                    Check::skipped("Time"),
                ],
                ..lantern()
            }
            .render(),
        ),
    ];
    list.into_iter().map(|(name, html)| (format!("{prefix}{name}"), html)).collect()
}
