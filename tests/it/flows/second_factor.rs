//! Second factors: codes, recovery codes, enrolment, step-up.

use std::sync::Arc;

use cardea::access::Authority;
use cardea::demo::PASSWORD;
use cardea::domain::Span;
use cardea::domain::login::{Owed, Purpose};
use cardea::session::Visit;
use cardea::signin::{Settings, SignIn, Step, Traffic};
use cardea::store::{audit, credentials, sessions};
use cardea::sys::OsChance;

use super::{after_password, at_code, authenticator, enrol, moved, opens, password, sign_out};
use crate::support::stage::{Answer, ENGINES, Engine, Ready, Stage, Visitor, all_at_once};

/// How many of these came in.
fn let_in(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.token().is_some()).count()
}

/// A code that is wrong at the moment and for a while.
fn wrong_code(stage: &Stage) -> String {
    let near: Vec<String> =
        (-4..=4).map(|step| stage.demo.authenticator.code(moved(stage.now(), step * 30))).collect();
    (0..).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).unwrap()
}

/// Grace before the page where Reports has her set up an authenticator.
async fn at_enrolment(stage: &Stage) -> Visitor {
    let mut grace = stage.visitor();
    grace.get(&stage.url("reports.cardea", "/")).await;
    grace.submit(&[("identifier", "grace")]).await;
    grace.submit(&[("password", PASSWORD)]).await;
    assert_eq!(grace.title(), "Set up an authenticator app", "{}", grace.text());
    grace
}

/// The page for recovery codes, with one filled in.
async fn recovering(stage: &Stage, code: &str) -> Ready {
    let mut visitor = after_password(stage, "grace").await;
    let to = visitor.attribute("a[href*=recovery]", "href").unwrap();
    visitor.get(&stage.portal(&to)).await;
    visitor.ready(&[("code", code)])
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_02_mfa_03_f62_one_step_either_way_and_each_code_once() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        stage.align().await;
        let code = |steps: i64| stage.demo.authenticator.code(moved(stage.now(), steps * 30));
        let mut visitor = at_code(&stage).await;
        for far in [-2, 2] {
            visitor.submit(&[("code", &code(far))]).await;
            assert!(visitor.text().contains("That code is not right."), "{far}: {}", visitor.text());
        }
        for near in [-1, 0, 1] {
            visitor.submit(&[("code", &code(near))]).await;
            assert_eq!(visitor.title(), "My apps", "{near}: {}", visitor.text());
            visitor = at_code(&stage).await;
        }
        for used in [-1, 0, 1] {
            visitor.submit(&[("code", &code(used))]).await;
            assert_eq!(visitor.title(), "Enter your code", "{used} again");
        }
        stage.advance(Span::seconds(30)).await;
        visitor.submit(&[("code", &code(0))]).await;
        assert_eq!(visitor.title(), "Enter your code", "what was the next step was used as well");
        visitor.submit(&[("code", &code(1))]).await;
        assert_eq!(visitor.title(), "My apps");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_02_node_02_f62_one_code_at_the_same_moment_lets_one_in() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let mut waiting = Vec::new();
        for _ in 0..8 {
            waiting.push(at_code(&stage).await);
        }
        for round in 0..2 {
            stage.advance(Span::minutes(2)).await;
            stage.align().await;
            stage.house().admin.unlock_user(&Authority::system(), stage.user("ada").await).await.unwrap();
            let code = stage.ada_code();
            let some = &waiting[round * 4..round * 4 + 4];
            let forms: Vec<Ready> = some.iter().map(|visitor| visitor.ready(&[("code", &code)])).collect();
            assert_eq!(let_in(&all_at_once(&forms).await), 1, "{engine:?}, round {round}");
        }
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_04_f61_five_tries_whatever_the_flow_the_form_and_the_source() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        stage.align().await;
        let wrong = wrong_code(&stage);
        let mut forms = Vec::new();
        for _ in 0..4 {
            let form = at_code(&stage).await.ready(&[("code", &wrong)]);
            forms.extend((0..25).map(|_| form.clone()));
        }
        let answers = all_at_once(&forms).await;
        let looked_at = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(looked_at, 5, "{engine:?}");
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 429)));
        // A new sign-in, another source, another form: the right code waits like any other.
        let mut again = stage.named_from(Some([127, 0, 0, 5].into()), "ada").await;
        again.submit(&[("password", PASSWORD)]).await;
        let right = again.ready(&[("code", &stage.ada_code())]);
        assert_eq!(right.send().await.status, 429);
        let mut by_recovery = right.clone();
        by_recovery.url = stage.portal("/sign-in/recovery");
        assert_eq!(by_recovery.with("code", "abcd-efgh-jkmn-pqrs").send().await.status, 429);
        assert_eq!(right.send().await.status, 429);
        // Somebody else is not concerned.
        assert_eq!(after_password(&stage, "grace").await.title(), "My apps");
        stage.advance(Span::minutes(15)).await;
        let mut again = at_code(&stage).await;
        again.submit(&[("code", &stage.ada_code())]).await;
        assert_eq!(again.title(), "My apps");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_04_f61_five_tries_in_any_quarter_of_an_hour() {
    let stage = Stage::open(Engine::Sqlite).await;
    // As many wrong codes as are looked at.
    let tries = async || {
        let form = at_code(&stage).await.ready(&[("code", &wrong_code(&stage))]);
        for n in 0..6 {
            if form.send().await.status == 429 {
                return n;
            }
        }
        6
    };
    let one = at_code(&stage).await.ready(&[("code", &wrong_code(&stage))]);
    assert_eq!(one.send().await.status, 200);
    stage.advance(Span::seconds(14 * 60 + 30)).await;
    let late = tries().await;
    stage.advance(Span::seconds(45)).await;
    let later = tries().await;
    assert!(late + later <= 5, "{late} tries and then {later} within a minute");
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_07_recovery_codes_work_once_each_and_new_ones_replace_them() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let mut grace = at_enrolment(&stage).await;
        let (key, codes) = enrol(&stage, &mut grace).await;
        assert_eq!(grace.url, stage.url("reports.cardea", "/"));
        assert_eq!(grace.title(), "Hello, Grace Hopper");
        assert_eq!(codes.len(), 10);
        let distinct: std::collections::HashSet<&String> = codes.iter().collect();
        assert_eq!(distinct.len(), 10);

        // However it is typed.
        let form = recovering(&stage, &codes[0].replace('-', " ").to_uppercase()).await;
        let first = form.send().await;
        assert!(first.token().is_some(), "{}", first.text());
        let again = recovering(&stage, &codes[0]).await.send().await;
        assert_eq!(again.token(), None);
        assert!(again.text().contains("was used already"), "{}", again.text());
        grace.get(&stage.portal("/me/security")).await;
        assert!(grace.text().contains("9 left"), "{}", grace.text());

        // At the same moment.
        let mut forms = Vec::new();
        for _ in 0..4 {
            forms.push(recovering(&stage, &codes[1]).await);
        }
        assert_eq!(let_in(&all_at_once(&forms).await), 1, "{engine:?}");
        stage.house().admin.unlock_user(&Authority::system(), stage.user("grace").await).await.unwrap();

        // New ones, after a fresh code.
        stage.advance(Span::minutes(6)).await;
        grace.get(&stage.portal("/me/security")).await;
        grace.press("/me/security/recovery").await;
        assert_eq!(grace.title(), "Enter your code", "a stale proof does not do");
        grace.submit(&[("code", &authenticator(&key).code(stage.now()))]).await;
        assert_eq!(grace.title(), "My account");
        grace.press("/me/security/recovery").await;
        assert_eq!(grace.title(), "Keep your recovery codes", "{}", grace.text());
        let new = grace.all("#codes li code");
        assert_eq!(new.len(), 10);
        assert!(new.iter().all(|code| !codes.contains(code)));
        assert_eq!(
            recovering(&stage, &codes[2]).await.send().await.token(),
            None,
            "the old ones are worth nothing"
        );
        assert!(recovering(&stage, &new[2]).await.send().await.token().is_some());
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_06_nobody_enrols_in_place_of_somebody_who_has_a_factor() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        // Between the factors.
        let half = at_code(&stage).await;
        let form = half.ready(&[("code", "123456")]);
        let mut tab = half.tab();
        tab.get(&stage.portal(&format!("/me/security/totp?flow={}", form.value("flow")))).await;
        assert_eq!(tab.status, 400, "{}", tab.text());
        assert!(tab.attribute("#key", "data-value").is_none());
        let mut enrolling = form.clone();
        enrolling.url = stage.portal("/me/security/totp");
        for code in ["123456", &stage.ada_code()] {
            let answer = enrolling.clone().with("code", code).send().await;
            assert_eq!((answer.status, answer.token()), (400, None), "{}", answer.text());
        }
        // With a session whose second factor is not fresh.
        let mut ada = stage.signed_in("ada").await;
        ada.get(&stage.portal("/me/security/totp")).await;
        assert_eq!(ada.title(), "Replace your authenticator app");
        let key = ada.attribute("#key", "data-value").unwrap();
        assert_ne!(key, stage.demo.authenticator.base32(), "the seed that is in use is not shown again");
        stage.advance(Span::minutes(6)).await;
        let late = ada.ready(&[("code", &authenticator(&key).code(stage.now()))]).send().await;
        assert_eq!((late.status, late.token()), (400, None), "{}", late.text());
        ada.get(&stage.portal("/me/security/totp")).await;
        assert_eq!(ada.title(), "Enter your code");
        // With one that is. Sessions elsewhere end.
        ada.submit(&[("code", &stage.ada_code())]).await;
        assert_eq!(ada.title(), "Replace your authenticator app");
        stage.advance(Span::minutes(1)).await;
        let mut elsewhere = stage.signed_in("ada").await;
        let (key, _) = enrol(&stage, &mut ada).await;
        assert_eq!(ada.title(), "My account");
        elsewhere.get(&stage.portal("/apps")).await;
        assert_eq!(elsewhere.title(), "Sign in");
        stage.advance(Span::minutes(1)).await;
        let mut after = at_code(&stage).await;
        after.submit(&[("code", &stage.ada_code())]).await;
        assert_eq!(after.title(), "Enter your code", "the old authenticator is worth nothing");
        after.submit(&[("code", &authenticator(&key).code(stage.now()))]).await;
        assert_eq!(after.title(), "My apps");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_06_of_several_first_enrolments_one_counts() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let mut pages = Vec::new();
        for _ in 0..4 {
            pages.push(at_enrolment(&stage).await);
        }
        let keys: Vec<String> =
            pages.iter().map(|page| page.attribute("#key", "data-value").unwrap()).collect();
        let forms: Vec<Ready> = pages
            .iter()
            .zip(&keys)
            .map(|(page, key)| page.ready(&[("code", &authenticator(key).code(stage.now()))]))
            .collect();
        let answers = all_at_once(&forms).await;
        assert_eq!(
            let_in(&answers),
            1,
            "{engine:?}: {:?}",
            answers.iter().map(Answer::title).collect::<Vec<_>>()
        );
        let won = answers.iter().position(|answer| answer.token().is_some()).unwrap();
        // Later ones do not count either, and the one that did is the one in force.
        stage.advance(Span::minutes(1)).await;
        for (at, page) in pages.iter().enumerate().filter(|(at, _)| *at != won) {
            let late = page.ready(&[("code", &authenticator(&keys[at]).code(stage.now()))]).send().await;
            assert_eq!(late.token(), None, "{}", late.text());
        }
        stage.house().admin.unlock_user(&Authority::system(), stage.user("grace").await).await.unwrap();
        let mut grace = after_password(&stage, "grace").await;
        grace.submit(&[("code", &authenticator(&keys[won]).code(stage.now()))]).await;
        assert_eq!(grace.title(), "My apps", "{engine:?}: {}", grace.text());
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_05_a_first_enrolment_needs_a_fresh_first_factor_and_shows_its_seed_once() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut grace = stage.signed_in("grace").await;
    stage.advance(Span::minutes(6)).await;
    grace.get(&stage.portal("/me/security/totp")).await;
    assert_eq!(grace.title(), "Enter your password");
    grace.submit(&[("password", PASSWORD)]).await;
    assert_eq!(grace.title(), "Set up an authenticator app");
    let page = grace.url.clone();
    // The same until it is confirmed, so that a wrong code does not change what was scanned.
    let key = grace.attribute("#key", "data-value").unwrap();
    grace.submit(&[("code", "000000")]).await;
    assert_eq!(grace.attribute("#key", "data-value").as_ref(), Some(&key));
    let (enrolled, codes) = enrol(&stage, &mut grace).await;
    assert_eq!(enrolled, key);
    for path in ["/me", "/me/security", "/me/security/totp", page.strip_prefix(&stage.portal("")).unwrap()] {
        grace.get(&stage.portal(path)).await;
        assert!(!grace.body.contains(&key), "{path} shows the seed again");
        assert!(codes.iter().all(|code| !grace.body.contains(code)), "{path} shows recovery codes again");
    }
    stage.demo.stop().await;

    // Forced during a sign-in, and left lying for too long.
    let stage = Stage::open(Engine::Sqlite).await;
    let grace = at_enrolment(&stage).await;
    let key = grace.attribute("#key", "data-value").unwrap();
    stage.advance(Span::minutes(6)).await;
    let late = grace.ready(&[("code", &authenticator(&key).code(stage.now()))]).send().await;
    assert_eq!((late.status, late.token()), (400, None), "{}", late.text());
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_01_a136_whoever_must_have_a_factor_sets_one_up_before_anything_else() {
    let stage = Stage::open(Engine::Sqlite).await;
    let forced = async |name: &str| {
        let mut visitor = after_password(&stage, name).await;
        assert_eq!(visitor.title(), "Set up an authenticator app", "{name}: {}", visitor.text());
        assert_eq!(visitor.cookie(&stage.portal("/"), "cardea"), None, "{name} has no session yet");
        visitor.get(&stage.portal("/apps")).await;
        assert_eq!(visitor.title(), "Sign in", "{name}");
    };
    stage.reconfigured("require = \"optional\"", "require = \"everyone\"").await;
    forced("linus").await;
    stage.reconfigured("require = \"everyone\"", "require = \"optional\"").await;
    assert_eq!(after_password(&stage, "linus").await.title(), "My apps");

    stage
        .reconfigured("domains = [\"globex.example\"]", "domains = [\"globex.example\"]\nmfa_required = true")
        .await;
    forced("yana").await;
    stage.reconfigured("mfa_required = true", "mfa_required = false").await;
    assert_eq!(after_password(&stage, "yana").await.title(), "My apps");

    stage
        .reconfigured(
            "permissions = { partner-wiki = [\"read\"] }",
            "permissions = { partner-wiki = [\"read\"] }\nmfa = true",
        )
        .await;
    forced("yana").await;
    let mut yana = after_password(&stage, "yana").await;
    enrol(&stage, &mut yana).await;
    assert_eq!(yana.title(), "My apps");
    yana.get(&stage.url("lantern.partner", "/")).await;
    assert_eq!(yana.status, 200);
    // Who owes one may not take it away again.
    yana.get(&stage.portal("/me/security/totp/remove")).await;
    assert_eq!(yana.title(), "My account");
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_01_a_session_from_before_the_rule_opens_no_app_without_the_factor() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut grace = stage.signed_in("grace").await;
    let lantern = stage.url("lantern.cardea", "/");
    grace.get(&lantern).await;
    assert_eq!(grace.title(), "Hello, Grace Hopper");
    stage.reconfigured("require = \"optional\"", "require = \"everyone\"").await;
    assert_eq!(grace.fetch(&lantern).await.0, 401);
    grace.get(&lantern).await;
    assert_eq!(grace.title(), "Set up an authenticator app", "{}", grace.text());
    enrol(&stage, &mut grace).await;
    assert_eq!(grace.title(), "Hello, Grace Hopper");
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_08_taking_the_factor_away_needs_it_and_ends_the_other_sessions() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let mut grace = at_enrolment(&stage).await;
        let (key, _) = enrol(&stage, &mut grace).await;
        let code = || authenticator(&key).code(stage.now());
        stage.advance(Span::minutes(6)).await;
        let mut other = after_password(&stage, "grace").await;
        other.submit(&[("code", &code())]).await;
        other.get(&stage.url("lantern.cardea", "/")).await;
        assert_eq!(other.title(), "Hello, Grace Hopper");
        grace.get(&stage.portal("/me/security/totp/remove")).await;
        assert_eq!(grace.title(), "Enter your code", "a stale proof does not do");
        stage.advance(Span::minutes(1)).await;
        grace.submit(&[("code", &code())]).await;
        assert_eq!(grace.title(), "Remove your authenticator app?", "{}", grace.text());
        grace.press("/me/security/totp/remove").await;
        assert!(grace.text().contains("Not set up"), "{}", grace.text());
        assert_eq!(other.fetch(&stage.url("lantern.cardea", "/")).await.0, 401, "{engine:?}");
        other.get(&stage.portal("/apps")).await;
        assert_eq!(other.title(), "Sign in");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_09_step_up_returns_to_the_page_and_raises_that_host_alone() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let [portal, lantern, reports] = [
            stage.portal("/me"),
            stage.url("lantern.cardea", "/"),
            stage.url("reports.cardea", "/admin/x?y=1&z=%20"),
        ];
        let mut ada = stage.signed_in("ada").await;
        for url in [&lantern, &reports] {
            ada.get(url).await;
            assert_eq!(ada.title(), "Hello, Ada Lovelace");
        }
        let (_, before) = ada.fetch(&lantern).await;
        let (old_lantern, old_reports, old_portal) = (
            ada.cookie(&lantern, "cardea").unwrap(),
            ada.cookie(&reports, "cardea").unwrap(),
            ada.cookie(&portal, "cardea").unwrap(),
        );
        stage.advance(Span::minutes(16)).await;
        let (status, problem) = ada.fetch(&reports).await;
        assert_eq!((status.as_u16(), &problem["code"]), (401, &serde_json::json!("step-up")));
        assert_eq!(ada.fetch(&lantern).await.0, 200, "what asks for no fresh code opens as before");
        assert_eq!(ada.fetch(&stage.url("reports.cardea", "/")).await.0, 200);

        ada.get(&reports).await;
        assert_eq!(ada.title(), "Enter your code", "{}", ada.text());
        assert!(ada.text().contains("asks for a fresh code"), "{}", ada.text());
        ada.submit(&[("code", &stage.ada_code())]).await;
        assert_eq!((ada.title().as_str(), &ada.url), ("Hello, Ada Lovelace", &reports));
        assert_ne!(ada.cookie(&reports, "cardea").unwrap(), old_reports);
        assert!(
            !opens(&reports, &old_reports).await
                && !opens(&stage.url("reports.cardea", "/"), &old_reports).await
        );
        assert!(!opens(&portal, &old_portal).await, "the portal's token was renewed");
        assert_eq!(ada.cookie(&lantern, "cardea").unwrap(), old_lantern);
        let (_, after) = ada.fetch(&lantern).await;
        assert_eq!(
            after["claims"]["auth_time"], before["claims"]["auth_time"],
            "{engine:?}: no other host is raised"
        );
        let (_, raised) = ada.fetch(&reports).await;
        assert!(
            raised["claims"]["auth_time"].as_i64().unwrap() > before["claims"]["auth_time"].as_i64().unwrap()
        );
        assert_eq!(raised["claims"]["sid"], after["claims"]["sid"], "it is one session");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_09_nobody_else_steps_up_a_session() {
    let stage = Stage::open(Engine::Sqlite).await;
    let reports = stage.url("reports.cardea", "/admin/x");
    let mut ada = stage.signed_in("ada").await;
    ada.get(&reports).await;
    stage.advance(Span::minutes(16)).await;
    stage.align().await;
    ada.get(&reports).await;
    let waiting = ada.ready(&[("code", &stage.ada_code())]);

    // In another browser, with the right code.
    let mut grace = stage.signed_in("grace").await;
    grace.get(&stage.portal("/password/change")).await;
    let mut foreign =
        grace.ready(&[("current", "")]).without("current").without("password").without("sign_out_others");
    foreign.url = stage.portal("/sign-in/verify");
    let answer = foreign.with("flow", waiting.value("flow")).with("code", waiting.value("code")).send().await;
    assert_eq!(
        (answer.status, answer.token(), answer.location().as_deref()),
        (303, None, Some("/apps")),
        "{}",
        answer.text()
    );
    grace.get(&stage.portal("/me")).await;
    assert!(grace.text().contains("grace@acme.example"), "{}", grace.text());

    // In the same browser, after somebody else has signed in there.
    let mut tab = ada.tab();
    sign_out(&stage, &mut tab).await;
    tab.get(&stage.portal("/sign-in")).await;
    tab.submit(&[("identifier", "yana")]).await;
    tab.submit(&[("password", PASSWORD)]).await;
    assert_eq!(tab.title(), "My apps");
    let answer = waiting.send().await;
    assert_eq!(answer.token(), None, "{}", answer.text());
    tab.get(&stage.portal("/me")).await;
    assert!(tab.text().contains("yana@globex.example"), "{}", tab.text());
    assert_eq!(tab.fetch(&reports).await.0, 401);
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_06_steps_of_a_session_that_has_ended_go_no_further() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut grace = stage.signed_in("grace").await;
    grace.get(&stage.portal("/me/security/totp")).await;
    assert_eq!(grace.title(), "Set up an authenticator app", "{}", grace.text());
    let (house, user) = (stage.house(), stage.user("grace").await);
    let session =
        sessions::live_of(&mut house.db.read().await.unwrap(), user, stage.now()).await.unwrap()[0].id;
    house.admin.revoke_session(&Authority::system(), session).await.unwrap();
    let page = grace.url.clone();
    grace.get(&page).await;
    assert_ne!(grace.title(), "Set up an authenticator app", "a seed was offered to an ended session");
    assert!(grace.attribute("#key", "data-value").is_none());
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_06_a_session_that_has_ended_takes_no_factor_away() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        stage.signed_in("ada").await;
        let (house, ada) = (stage.house(), stage.user("ada").await);
        let session =
            sessions::live_of(&mut house.db.read().await.unwrap(), ada, stage.now()).await.unwrap()[0].id;
        let address = "192.0.2.1".parse().unwrap();
        let visit = Visit { address, agent: "", now: stage.now(), chance: &OsChance };
        house.admin.revoke_sessions(&Authority::system(), ada).await.unwrap();
        let kept = async || {
            let mut conn = house.db.read().await.unwrap();
            let factor = credentials::factor(&mut conn, ada).await.unwrap();
            (factor.map(|factor| factor.id), credentials::codes_left(&mut conn, ada).await.unwrap())
        };
        let before = kept().await;
        assert!(before.0.is_some());
        assert!(house.signin.remove_factor((ada, session), &visit).await.is_err());
        assert!(house.signin.renew_codes((ada, session), &visit).await.is_err());
        assert_eq!(kept().await, before, "{engine:?}");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_enrolment_is_recorded() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut grace = at_enrolment(&stage).await;
    grace.submit(&[("code", "000000")]).await;
    assert!(grace.text().contains("That code is not right."), "{}", grace.text());
    let user = stage.user("grace").await.to_string();
    let search = audit::Search {
        action: Some("factor.enrol".to_owned()),
        outcome: Some("failed".to_owned()),
        target: Some(user),
        ..audit::Search::default()
    };
    for turn in 0.. {
        let mut conn = stage.house().db.read().await.unwrap();
        if !audit::find(&mut conn, &search, 1).await.unwrap().is_empty() {
            break;
        }
        assert!(turn < 100, "no record of it");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_07_recovery_codes_are_worth_nothing_where_they_are_not_taken() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut grace = at_enrolment(&stage).await;
    let (_, codes) = enrol(&stage, &mut grace).await;
    let house = stage.house();
    let strict = SignIn {
        db: house.db.clone(),
        keys: Arc::clone(&house.keys),
        sessions: Arc::clone(&house.sessions),
        snapshot: Arc::clone(&house.board.snapshot),
        ledger: house.ledger.clone(),
        documents: house.signin.documents.clone(),
        hashing: house.hashing.clone(),
        federation: Arc::clone(&house.signin.federation),
        logouts: cardea::signin::Strangers::default(),
        traffic: Traffic::default(),
        settings: Settings { recovery: false, ..house.signin.settings.clone() },
    };
    let visit =
        Visit { address: "192.0.2.1".parse().unwrap(), agent: "", now: stage.now(), chance: &OsChance };
    let browser = [7; 32];
    let begun = strict.begin("grace", Purpose::SignIn, "", &browser, &visit).await.unwrap();
    let flow = async || strict.flow(begun.handle.expose(), &browser, &visit).await.unwrap();
    assert!(matches!(
        strict.password(&flow().await, &password(PASSWORD), &visit).await,
        Ok(Step::Owes(Owed::SecondFactor))
    ));
    assert!(strict.recovery(&flow().await, &codes[0], &visit).await.is_err());
    assert!(
        house.signin.recovery(&flow().await, &codes[0], &visit).await.is_ok(),
        "the code itself was good"
    );
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_factors_are_off_only_what_demands_one_asks_for_it() {
    let stage = Stage::open(Engine::Sqlite).await;
    stage.reconfigured("require = \"optional\"", "require = \"off\"").await;
    // Somebody who has one comes in without it, and gives it where a route demands it.
    let mut ada = after_password(&stage, "ada").await;
    assert_eq!(ada.title(), "My apps", "{}", ada.text());
    ada.get(&stage.url("reports.cardea", "/")).await;
    assert_eq!(ada.title(), "Enter your code", "{}", ada.text());
    ada.submit(&[("code", &stage.ada_code())]).await;
    assert_eq!(ada.title(), "Hello, Ada Lovelace", "{}", ada.text());
    // Somebody who has none is offered none, and sets one up where a route demands it.
    let mut grace = stage.signed_in("grace").await;
    grace.get(&stage.portal("/me/security")).await;
    assert!(grace.attribute("a[href$='/me/security/totp']", "href").is_none(), "{}", grace.text());
    grace.get(&stage.portal("/me/security/totp")).await;
    assert_eq!(grace.title(), "My account", "{}", grace.text());
    grace.get(&stage.url("reports.cardea", "/")).await;
    assert_eq!(grace.title(), "Set up an authenticator app", "{}", grace.text());
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_05_the_page_of_an_enrolment_loaded_anew_says_that_it_is_done() {
    let stage = Stage::open(Engine::Sqlite).await;
    stage.align().await;
    let mut grace = at_enrolment(&stage).await;
    let key = grace.attribute("#key", "data-value").unwrap();
    let code = authenticator(&key).code(stage.now());
    let form = grace.ready(&[("code", &code)]);
    grace.submit(&[("code", &code)]).await;
    assert_eq!(grace.title(), "Keep your recovery codes", "{}", grace.text());
    let codes = grace.all("#codes li code");
    // F5, which sends the form once more; and the address typed again.
    let mut tab = grace.tab();
    tab.take(&form.url, form.send().await).await;
    for _ in 0..2 {
        assert_eq!(tab.title(), "My account", "{}", tab.text());
        let said = "Your authenticator app is set up. If you have not stored the recovery codes, make new ones here.";
        assert!(tab.text().contains(said), "{}", tab.text());
        assert!(codes.iter().all(|code| !tab.body.contains(code)), "shown once");
        tab.get(&stage.portal(&format!("/me/security/totp?flow={}", form.value("flow")))).await;
    }
    // Later, the page of an old sign-in is what it always was.
    stage.advance(Span::minutes(6)).await;
    tab.get(&stage.portal(&format!("/me/security/totp?flow={}", form.value("flow")))).await;
    assert_eq!(tab.status, 400, "{}", tab.text());
    stage.demo.stop().await;
}
