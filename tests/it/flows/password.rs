//! Passwords: what a wrong one tells, how often one may guess, how they are changed.

use std::net::{IpAddr, Ipv4Addr};

use cardea::access::Authority;
use cardea::admin::Sessions;
use cardea::demo::PASSWORD;
use cardea::domain::{Span, Status};
use cardea::store::audit::{self, Record};
use cardea::store::users;

use super::{after_password, hash_of, import, opens, password};
use crate::support::stage::{Answer, ENGINES, Engine, Ready, Stage, all_at_once};

const WRONG: &str = "not-the-password-1";

/// How many passwords were hashed.
fn hashes(stage: &Stage) -> usize {
    stage.house().hashing.done()
}

fn address(last: u8) -> Option<IpAddr> {
    Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
}

/// The password page for a name, with a password filled in.
async fn guess(stage: &Stage, from: Option<IpAddr>, name: &str, guess: &str) -> Ready {
    stage.named_from(from, name).await.ready(&[("password", guess)])
}

/// Wrong passwords for a name until there are no more free tries.
async fn exhaust(stage: &Stage, name: &str) {
    let form = guess(stage, None, name, WRONG).await;
    for _ in 0..8 {
        assert_eq!(form.send().await.status, 200);
    }
    assert_eq!(form.send().await.status, 429);
}

/// An answer without what belongs to this one sign-in.
fn bare(answer: &Answer, form: &Ready, name: &str) -> (u16, String, Vec<(String, String)>) {
    let body =
        answer.body.replace(form.value("csrf"), "*").replace(form.value("flow"), "*").replace(name, "*");
    let fields = answer.headers.iter().filter(|(name, _)| *name != "date");
    (
        answer.status,
        body,
        fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_04_f73_every_reason_to_refuse_looks_the_same_and_costs_one_hash() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let (admin, by) = (&stage.house().admin, Authority::system());
        let hash = hash_of(&stage, stage.user("grace").await).await;
        let [susan, ivory, delia] = [
            import(&stage, "susan", Some(&hash)).await,
            import(&stage, "ivory", Some(&hash)).await,
            import(&stage, "delia", Some(&hash)).await,
        ];
        import(&stage, "ivana", None).await;
        let soren = import(&stage, "soren", None).await;
        admin.suspend_user(&by, susan, "a test", None).await.unwrap();
        admin.deactivate_user(&by, ivory).await.unwrap();
        admin.delete_user(&by, delia).await.unwrap();
        // Comes in by a provider only.
        let mut tx = stage.house().db.begin().await.unwrap();
        users::set_status(&mut tx, soren, Status::Active, None).await.unwrap();
        tx.commit(stage.now()).await.unwrap();

        let mut seen = Vec::new();
        // Names of one length, so that the lengths of the answers can be compared too.
        for (name, with) in [
            ("grace", WRONG),
            ("ghost", PASSWORD),
            ("susan", PASSWORD),
            ("ivory", PASSWORD),
            ("delia", PASSWORD),
            ("ivana", PASSWORD),
            ("soren", PASSWORD),
        ] {
            let form = guess(&stage, None, name, with).await;
            let before = hashes(&stage);
            let answer = form.send().await;
            assert_eq!(hashes(&stage) - before, 1, "{name}: one hash");
            assert!(answer.cookies().is_empty(), "{name}");
            seen.push((name, bare(&answer, &form, name)));
        }
        for (name, other) in &seen {
            assert_eq!(*other, seen[0].1, "{engine:?}: {name} against {}", seen[0].0);
        }
        assert_eq!(seen[0].1.0, 200);

        // Throttling tells nothing either.
        let mut throttled = Vec::new();
        for name in ["grace", "ghost", "susan"] {
            let form = guess(&stage, None, name, WRONG).await;
            for _ in 0..7 {
                assert_eq!(form.send().await.status, 200, "{name}");
            }
            let (status, body, fields) = bare(&form.send().await, &form, name);
            let body: String = body.chars().filter(|c| !c.is_ascii_digit()).collect();
            throttled.push((status, body, fields.into_iter().map(|(name, _)| name).collect::<Vec<_>>()));
        }
        assert_eq!(throttled[0].0, 429);
        assert!(throttled.iter().all(|one| *one == throttled[0]), "{throttled:#?}");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f59_a132_every_spelling_of_a_name_reaches_one_counter() {
    let stage = Stage::open(Engine::Sqlite).await;
    let spellings = ["grace", "grace@acme.example", "GRACE", "Grace@ACME.Example", "  grace "];
    let before = hashes(&stage);
    for n in 0..8 {
        assert_eq!(guess(&stage, None, spellings[n % 5], WRONG).await.send().await.status, 200, "{n}");
    }
    for name in spellings {
        // Refused without saying why: that one name's tries stop another would tell that both are one person's.
        let answer = guess(&stage, None, name, PASSWORD).await.send().await;
        assert_eq!(answer.token(), None, "{name}");
    }
    // One hash for each try: eight that counted, and a decoy for each that was stopped in silence.
    assert!((8..=13).contains(&(hashes(&stage) - before)));
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_05_a_source_waits_twice_as_long_each_time_and_nobody_else_does() {
    let stage = Stage::open(Engine::Sqlite).await;
    exhaust(&stage, "grace").await;
    let before = hashes(&stage);
    let right = guess(&stage, None, "grace", PASSWORD).await;
    assert_eq!(right.send().await.status, 429, "the right one waits as well");
    for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let value = if name == "forwarded" { "for=9.9.9.9" } else { "9.9.9.9" };
        assert_eq!(
            right.clone().header(name, value).send().await.status,
            429,
            "{name} is believed from nobody"
        );
    }
    assert_eq!(hashes(&stage), before, "who must wait costs no hash");

    let elsewhere = guess(&stage, address(2), "grace", PASSWORD).await.send().await;
    assert!(elsewhere.token().is_some(), "another source still works");
    assert_eq!(
        guess(&stage, None, "grace", WRONG).await.send().await.status,
        429,
        "and excuses nothing here"
    );

    for (round, minutes) in [1, 2, 4, 8, 16, 30, 30].into_iter().enumerate() {
        let answer = guess(&stage, None, "grace", WRONG).await.send().await;
        let wait: i64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(
            (minutes * 60 - 20..=minutes * 60).contains(&wait),
            "round {round}: {wait} s, not {minutes} min"
        );
        stage.advance(Span::seconds(wait + 1)).await;
        assert_eq!(guess(&stage, None, "grace", WRONG).await.send().await.status, 200, "round {round}");
    }
    stage.advance(Span::minutes(30)).await;
    assert!(guess(&stage, None, "grace", PASSWORD).await.send().await.token().is_some());
    // The right password made an end of it: everything is free again.
    let form = guess(&stage, None, "grace", WRONG).await;
    for _ in 0..7 {
        assert_eq!(form.send().await.status, 200);
    }
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_05_a_hundred_guesses_at_once_count_as_a_hundred() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let mut forms = Vec::new();
        for name in ["grace", "grace@acme.example", "GRACE", "grace"] {
            let form = guess(&stage, None, name, WRONG).await;
            forms.extend((0..25).map(|n| form.clone().with("password", &format!("guess-number-{n}"))));
        }
        let before = hashes(&stage);
        let answers = all_at_once(&forms).await;
        let looked_at = answers.iter().filter(|answer| answer.status == 200).count();
        // Two names as typed, each with eight answers that are not "wait"; eight of the sixteen are looked at.
        assert_eq!(
            looked_at,
            16,
            "{engine:?}: {:?}",
            answers.iter().map(|answer| answer.status).collect::<Vec<_>>()
        );
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 429)));
        assert_eq!(hashes(&stage) - before, 16, "{engine:?}");
        assert_eq!(guess(&stage, None, "grace", PASSWORD).await.send().await.status, 429);
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_05_a_hundred_guesses_an_hour_from_everywhere_and_the_own_place_stays_open() {
    let stage = Stage::open(Engine::Sqlite).await;
    // From here grace has signed in before.
    stage.signed_in("grace").await;
    let before = hashes(&stage);
    for last in 10..26 {
        guess(&stage, address(last), "grace", WRONG).await.at_once(8).await;
    }
    // A hundred are looked at; the rest cost a decoy, so that they look the same from outside.
    assert_eq!(hashes(&stage) - before, 128, "sixteen sources with eight free tries each");
    let answer = guess(&stage, address(99), "grace", PASSWORD).await.send().await;
    assert_eq!(answer.token(), None, "a new source waits");
    assert!(
        guess(&stage, None, "grace", PASSWORD).await.send().await.token().is_some(),
        "a known one does not"
    );
    assert!(
        guess(&stage, address(99), "linus", PASSWORD).await.send().await.token().is_some(),
        "nor do others"
    );
    stage.advance(Span::minutes(61)).await;
    assert!(guess(&stage, address(99), "grace", PASSWORD).await.send().await.token().is_some());
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_05_an_administrator_lifts_it() {
    let stage = Stage::open(Engine::Sqlite).await;
    exhaust(&stage, "grace").await;
    let grace = stage.user("grace").await;
    stage.house().admin.unlock_user(&Authority::system(), grace).await.unwrap();
    assert!(guess(&stage, None, "grace", PASSWORD).await.send().await.token().is_some());
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_06_counters_survive_a_restart() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let form = guess(&stage, None, "grace", WRONG).await;
        for _ in 0..5 {
            assert_eq!(form.send().await.status, 200);
        }
        let stage = stage.restarted().await;
        let form = guess(&stage, None, "grace", WRONG).await;
        for _ in 0..3 {
            assert_eq!(form.send().await.status, 200);
        }
        assert_eq!(form.send().await.status, 429);
        let stage = stage.restarted().await;
        assert_eq!(guess(&stage, None, "grace", PASSWORD).await.send().await.status, 429, "{engine:?}");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_03_a_megabyte_is_refused_before_it_is_hashed() {
    let stage = Stage::open(Engine::Sqlite).await;
    let form = guess(&stage, None, "grace", WRONG).await;
    let before = hashes(&stage);
    for (length, status) in [(1025, 200), (60_000, 200), (66_000, 413), (1 << 20, 413)] {
        let answer = form.clone().with("password", &"x".repeat(length)).send().await;
        assert_eq!((answer.status, answer.token()), (status, None), "{length}");
    }
    assert_eq!(hashes(&stage), before);
    assert!(form.with("password", PASSWORD).send().await.token().is_some(), "and it counts as no try");
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a167_an_imported_bcrypt_hash_verifies_once_and_is_argon2id_from_then_on() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let old = bcrypt::hash("an old password", 4).unwrap();
        let berta = import(&stage, "berta", Some(&old)).await;
        let wrong = guess(&stage, None, "berta", WRONG).await.send().await;
        assert_eq!((wrong.status, wrong.token()), (200, None));
        assert_eq!(hash_of(&stage, berta).await, old, "a wrong password changes nothing");
        assert!(guess(&stage, None, "berta", "an old password").await.send().await.token().is_some());
        let new = hash_of(&stage, berta).await;
        assert!(new.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{new}");
        let form = guess(&stage, None, "berta", "an old password").await;
        let before = hashes(&stage);
        assert!(form.send().await.token().is_some());
        assert_eq!(hashes(&stage) - before, 1);
        assert_eq!(hash_of(&stage, berta).await, new);
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_07_a_password_set_by_somebody_else_opens_only_the_page_on_which_it_is_changed() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let (grace, temporary) = (stage.user("grace").await, "temporary-wort-77");
        let mut before = stage.signed_in("grace").await;
        let mut linus = stage.signed_in("linus").await;
        let ended = stage
            .house()
            .admin
            .set_password(&Authority::system(), grace, &password(temporary), Sessions::End)
            .await
            .unwrap();
        assert_eq!(ended, 1);
        before.get(&stage.portal("/apps")).await;
        assert_eq!(before.title(), "Sign in");
        linus.get(&stage.portal("/apps")).await;
        assert_eq!(linus.title(), "My apps", "nobody else's session ends");

        let mut visitor = stage.named("grace").await;
        visitor.submit(&[("password", PASSWORD)]).await;
        assert_eq!(visitor.title(), "Enter your password", "the old one is worth nothing");
        visitor.submit(&[("password", temporary)]).await;
        assert_eq!(visitor.title(), "Choose a new password");
        assert_eq!(visitor.cookie(&stage.portal("/"), "cardea"), None);
        let flow = visitor.ready(&[("password", "")]).value("flow").to_owned();
        for path in [
            "/apps",
            "/me",
            "/me/sessions",
            "/me/security/totp",
            "/password/change",
            &format!("/auth/continue?flow={flow}"),
        ] {
            let mut tab = visitor.tab();
            tab.get(&stage.portal(path)).await;
            assert_eq!(tab.title(), "Sign in", "{path}");
        }
        for host in ["lantern.cardea", "reports.cardea"] {
            let mut tab = visitor.tab();
            tab.get(&stage.url(host, "/")).await;
            assert_eq!(tab.title(), "Sign in", "{host}");
        }
        let mut tab = visitor.tab();
        tab.get(&stage.portal(&format!("/me/security/totp?flow={flow}"))).await;
        assert_eq!(tab.status, 400, "no authenticator before the change: {}", tab.text());
        for page in ["verify", "recovery", "password"] {
            tab.get(&stage.portal(&format!("/sign-in/{page}?flow={flow}"))).await;
            assert_eq!(tab.title(), "Choose a new password", "{page}");
        }

        for (unfit, words) in [
            ("short", "too short"),
            ("password1234", "Too many people"),
            ("grace1234567", "your own name"),
            ("cardea demo 1", "your own name"),
            (temporary, "given"),
        ] {
            visitor.submit(&[("password", unfit)]).await;
            assert_eq!(visitor.title(), "Choose a new password", "{unfit}");
            assert!(visitor.text().contains(words), "{unfit}: {}", visitor.text());
        }
        visitor.submit(&[("password", "river-candle-58")]).await;
        assert_eq!(visitor.title(), "My apps", "{}", visitor.text());
        for (old, title) in [
            (temporary, "Enter your password"),
            (PASSWORD, "Enter your password"),
            ("river-candle-58", "My apps"),
        ] {
            let mut again = stage.named("grace").await;
            again.submit(&[("password", old)]).await;
            assert_eq!(again.title(), title, "{old}");
        }
        linus.get(&stage.portal("/apps")).await;
        assert_eq!(linus.title(), "My apps");

        // Whoever has an authenticator shows it first: a stolen first password does not suffice.
        let ada = stage.user("ada").await;
        stage
            .house()
            .admin
            .set_password(&Authority::system(), ada, &password(temporary), Sessions::End)
            .await
            .unwrap();
        let mut visitor = stage.named("ada").await;
        visitor.submit(&[("password", temporary)]).await;
        assert_eq!(visitor.title(), "Enter your code");
        let flow = visitor.ready(&[("code", "")]).value("flow").to_owned();
        let mut tab = visitor.tab();
        tab.get(&stage.portal(&format!("/password/change?flow={flow}"))).await;
        assert_eq!(tab.status, 400);
        visitor.submit(&[("code", &stage.ada_code())]).await;
        assert_eq!(visitor.title(), "Choose a new password");
        visitor.submit(&[("password", "river-candle-58")]).await;
        assert_eq!(visitor.title(), "My apps");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_07_a_session_that_is_kept_opens_no_app_until_the_password_is_changed() {
    let stage = Stage::open(Engine::Sqlite).await;
    let (grace, lantern) = (stage.user("grace").await, stage.url("lantern.cardea", "/"));
    let mut visitor = stage.signed_in("grace").await;
    visitor.get(&lantern).await;
    assert_eq!(visitor.title(), "Hello, Grace Hopper");
    stage
        .house()
        .admin
        .set_password(&Authority::system(), grace, &password("temporary-wort-77"), Sessions::Keep)
        .await
        .unwrap();
    assert_eq!(visitor.fetch(&lantern).await.0, 403);
    visitor.get(&stage.portal("/password/change")).await;
    visitor.submit(&[("current", "temporary-wort-77"), ("password", "river-candle-58")]).await;
    assert_eq!(visitor.title(), "My account", "{}", visitor.text());
    assert_eq!(visitor.fetch(&lantern).await.0, 200);
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_09_sess_08_changing_a_password_needs_the_present_one_and_ends_the_other_sessions() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let (portal, lantern) = (stage.portal("/me"), stage.url("lantern.cardea", "/"));
        let (mut own, mut other) = (stage.signed_in("grace").await, stage.signed_in("grace").await);
        own.get(&lantern).await;
        other.get(&lantern).await;
        own.get(&stage.portal("/password/change")).await;
        let form = own.ready(&[("current", WRONG), ("password", "river-candle-58")]);
        for wrong in
            [form.clone(), form.clone().without("current"), form.clone().with("current", "river-candle-58")]
        {
            let answer = wrong.send().await;
            assert!(answer.text().contains("That is not your present password."), "{}", answer.text());
            assert_eq!(answer.token(), None);
        }
        let weak = form.clone().with("current", PASSWORD).with("password", "password1234").send().await;
        assert!(weak.text().contains("Too many people"), "{}", weak.text());
        assert_eq!(other.fetch(&lantern).await.0, 200);

        let old = own.cookie(&portal, "cardea").unwrap();
        // Long, with letters beyond ASCII and a blank at its end: taken exactly as it is (PWD-02).
        let new = "Mäuse zählen im Nebel über der Brücke, vierundsechzig Zeichen sind nicht viel ";
        own.submit(&[("current", PASSWORD), ("password", new)]).await;
        assert_eq!(own.title(), "My account");
        assert!(own.text().contains("Your password is changed."), "{}", own.text());
        assert_ne!(own.cookie(&portal, "cardea").unwrap(), old, "the own token is a new one");
        assert!(
            !opens(&portal, &old).await && !opens(&stage.portal("/apps"), &old).await,
            "the old one is dead"
        );
        assert_eq!(own.fetch(&lantern).await.0, 200, "the own session goes on");
        assert_eq!(other.fetch(&lantern).await.0, 401, "the other one does not");
        other.get(&portal).await;
        assert_eq!(other.title(), "Sign in");
        let decomposed = new.replace('ä', "a\u{308}").replace('ü', "u\u{308}");
        for (with, title) in [
            (PASSWORD, "Enter your password"),
            (new.trim_end(), "Enter your password"),
            (new, "My apps"),
            (&decomposed, "My apps"),
        ] {
            let mut again = stage.named("grace").await;
            again.submit(&[("password", with)]).await;
            assert_eq!(again.title(), title, "{with:?}");
        }
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_09_guesses_at_the_present_password_are_counted_like_any_other() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut thief = stage.signed_in("grace").await;
    thief.get(&stage.portal("/password/change")).await;
    let form = thief.ready(&[("current", WRONG), ("password", "river-candle-58")]);
    for _ in 0..8 {
        assert_eq!(form.send().await.status, 200);
    }
    assert_eq!(form.send().await.status, 429);
    assert_eq!(form.with("current", PASSWORD).send().await.status, 429);
    // Nobody signed in: the form leads to the sign-in and changes nothing.
    let mut stranger = stage.visitor();
    stranger.get(&stage.portal("/sign-in")).await;
    let mut form = stranger.ready(&[("identifier", "grace")]);
    form.url = stage.portal("/password/change");
    let answer = form.with("current", PASSWORD).with("password", "river-candle-58").send().await;
    assert_eq!(answer.location().as_deref(), Some("/sign-in?return_to=%2Fpassword%2Fchange"));
    let linus = after_password(&stage, "linus").await;
    assert_eq!(linus.title(), "My apps");
    stage.demo.stop().await;
}

/// The records of an action, once there are so many: failures reach the log by a queue.
async fn records(stage: &Stage, action: &str, count: usize) -> Vec<Record> {
    let search = audit::Search { action: Some(action.to_owned()), ..audit::Search::default() };
    for _ in 0..500 {
        let found = audit::find(&mut stage.house().db.read().await.unwrap(), &search, 100).await.unwrap();
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("fewer than {count} records of {action}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_09_tries_are_recorded_with_who_made_them_and_the_present_password_is_no_new_one() {
    let stage = Stage::open(Engine::Sqlite).await;
    let grace = stage.user("grace").await;
    let hash = hash_of(&stage, grace).await;
    let mut own = stage.signed_in("grace").await;
    own.get(&stage.portal("/password/change")).await;
    let form = own.ready(&[("current", PASSWORD), ("password", PASSWORD)]);
    let answer = form.send().await;
    assert!(answer.text().contains("This is your present password."), "{}", answer.text());
    assert_eq!(hash_of(&stage, grace).await, hash);
    let form = form.with("current", WRONG);
    for _ in 0..8 {
        assert_eq!(form.send().await.status, 200);
    }
    for _ in 0..3 {
        assert_eq!(form.send().await.status, 429);
    }
    let found = records(&stage, "password.change", 9).await;
    assert_eq!(found.len(), 9, "eight that failed, and one for all that had to wait");
    for record in &found {
        assert_eq!(record.actor, ("user".to_owned(), grace.to_string()));
        assert_eq!(record.target, Some(("user".to_owned(), grace.to_string())));
        assert!(record.session.is_some() && record.address.is_some());
    }
    let refused = |found: &[Record]| {
        found.iter().filter(|it| it.outcome == "refused").map(|it| it.detail.clone()).collect::<Vec<_>>()
    };
    let [detail] = refused(&found).try_into().unwrap();
    assert!(detail.contains("too many tries") && detail.contains("until"), "{detail}");

    // At the door: somebody who is known, and nobody. What was typed is in no record.
    for name in ["linus", "nobody-of-that-name"] {
        exhaust(&stage, name).await;
        assert_eq!(guess(&stage, None, name, WRONG).await.send().await.status, 429);
    }
    let found = records(&stage, "signin.password", 1 + 2 * 9).await;
    assert_eq!(refused(&found).len(), 2, "{found:#?}");
    let linus = ("user".to_owned(), stage.user("linus").await.to_string());
    assert_eq!(found.iter().filter(|it| it.target.as_ref() == Some(&linus)).count(), 9);
    assert!(found.iter().all(|it| !it.detail.contains("nobody-of-that-name")));
    stage.demo.stop().await;
}
