//! One-time links: the first administrator, and setting a password.

use cardea::access::Authority;
use cardea::demo::PASSWORD;
use cardea::domain::{Span, Status};
use cardea::store::users;

use crate::support::stage::{Answer, ENGINES, Ready, Stage, Visitor, all_at_once};

/// Nobody administers any more, as before the first start.
async fn without_administrators(stage: &Stage) {
    let ada = stage.user("ada").await;
    let mut tx = stage.house().db.begin().await.unwrap();
    users::set_status(&mut tx, ada, Status::Inactive, None).await.unwrap();
    tx.commit(stage.now()).await.unwrap();
}

async fn setup_link(stage: &Stage) -> String {
    stage
        .house()
        .admin
        .setup_link(&Authority::system(), Span::minutes(30))
        .await
        .unwrap()
        .text
        .expose()
        .clone()
}

async fn password_link(stage: &Stage, name: &str) -> String {
    let user = stage.user(name).await;
    stage
        .house()
        .admin
        .password_link(&Authority::system(), user, Span::minutes(30))
        .await
        .unwrap()
        .text
        .expose()
        .clone()
}

/// The page of a set-up link, filled in.
async fn setting_up(stage: &Stage, link: &str, username: &str) -> (Visitor, Ready) {
    let mut visitor = stage.visitor();
    visitor.get(link).await;
    assert_eq!(visitor.title(), "Create the first administrator", "{}", visitor.text());
    let email = format!("{username}@acme.example");
    let form = visitor.ready(&[
        ("name", "Vera First"),
        ("email", &email),
        ("username", username),
        ("password", "river-candle-58"),
    ]);
    (visitor, form)
}

async fn comes_in(stage: &Stage, name: &str, password: &str) -> String {
    let mut visitor = stage.named(name).await;
    visitor.submit(&[("password", password)]).await;
    visitor.title()
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_08_a_set_up_link_makes_one_administrator_and_ends_with_it() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        assert!(
            stage.house().admin.setup_link(&Authority::system(), Span::minutes(30)).await.is_err(),
            "somebody administers"
        );
        without_administrators(&stage).await;
        let replaced = setup_link(&stage).await;
        let link = setup_link(&stage).await;
        assert!(link.starts_with(&stage.portal("/setup/")));
        let mut visitor = stage.visitor();
        visitor.get(&replaced).await;
        assert_eq!(
            (visitor.title().as_str(), visitor.status.as_u16()),
            ("This set-up link no longer works", 410)
        );
        // Looking does not use it, nor does a form that will not do.
        for _ in 0..3 {
            visitor.get(&link).await;
            assert_eq!(visitor.title(), "Create the first administrator");
        }
        let head = Answer::of(visitor.once(reqwest::Method::HEAD, &link, None).await).await;
        assert!(matches!(head.status, 200 | 405));
        let (_, form) = setting_up(&stage, &link, "verena").await;
        for (field, value, words) in [
            ("password", "password1234", "Too many people"),
            ("password", "verena123456", "your own name"),
            ("username", "x", "username"),
            ("username", "grace", "taken"),
            ("name", "", "name"),
        ] {
            let answer = form.clone().with(field, value).send().await;
            assert_eq!(answer.title(), "Create the first administrator", "{field}={value}");
            assert!(answer.text().contains(words), "{field}={value}: {}", answer.text());
            assert_eq!(answer.token(), None);
        }
        // Two at the same moment, with different names.
        let (_, other) = setting_up(&stage, &link, "walter").await;
        let answers = all_at_once(&[form.clone(), other.clone()]).await;
        let done: Vec<bool> =
            answers.iter().map(|answer| answer.title() == "You are the first administrator").collect();
        assert_eq!(
            done.iter().filter(|done| **done).count(),
            1,
            "{engine:?}: {:?}",
            answers.iter().map(Answer::title).collect::<Vec<_>>()
        );
        assert!(answers.iter().all(|answer| answer.token().is_none()), "nobody is signed in by a link");
        let (winner, loser) = if done[0] { ("verena", "walter") } else { ("walter", "verena") };
        assert_eq!(comes_in(&stage, winner, "river-candle-58").await, "My apps");
        assert_eq!(comes_in(&stage, loser, "river-candle-58").await, "Enter your password");
        for form in [&form, &other] {
            let answer = form.send().await;
            assert_eq!((answer.status, answer.title().as_str()), (410, "This set-up link no longer works"));
        }
        assert!(stage.house().admin.setup_link(&Authority::system(), Span::minutes(30)).await.is_err());
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_08_a_set_up_link_runs_out() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        without_administrators(&stage).await;
        let link = setup_link(&stage).await;
        let (mut visitor, form) = setting_up(&stage, &link, "verena").await;
        stage.advance(Span::minutes(30)).await;
        assert_eq!(form.send().await.status, 410, "{engine:?}");
        visitor.get(&link).await;
        assert_eq!(visitor.status, 410);
        for (wrong, status) in [("A".repeat(43), 410), ("x".into(), 410), (String::new(), 404)] {
            visitor.get(&stage.portal(&format!("/setup/{wrong}"))).await;
            assert_eq!(visitor.status, status, "{wrong:?}");
        }
        assert_eq!(comes_in(&stage, "verena", "river-candle-58").await, "Enter your password");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_07_f64_a_password_link_works_once_and_signs_nobody_in() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let mut before = stage.signed_in("linus").await;
        let replaced = password_link(&stage, "linus").await;
        let link = password_link(&stage, "linus").await;
        let mut visitor = stage.visitor();
        visitor.get(&replaced).await;
        assert!(matches!(visitor.status.as_u16(), 404 | 410), "{}", visitor.text());
        for _ in 0..3 {
            visitor.get(&link).await;
            assert_eq!(visitor.title(), "Set your password");
        }
        let form = visitor.ready(&[("password", "river-candle-58")]);
        for (unfit, words) in [
            ("short", "too short"),
            ("password1234", "Too many people"),
            ("linus1234567", "your own name"),
            ("", "password"),
            (PASSWORD, "This is the present password."),
        ] {
            let answer = form.clone().with("password", unfit).send().await;
            assert_eq!((answer.status, answer.title().as_str()), (200, "Set your password"), "{unfit}");
            assert!(answer.text().contains(words), "{unfit}: {}", answer.text());
        }
        let mut forms = Vec::new();
        for n in 0..4 {
            let mut visitor = stage.visitor();
            visitor.get(&link).await;
            forms.push(visitor.ready(&[("password", &format!("river-candle-5{n}"))]));
        }
        let answers = all_at_once(&forms).await;
        let used: Vec<usize> = (0..4)
            .filter(|at| answers[*at].location().as_deref() == Some("/sign-in?notice=password-set"))
            .collect();
        assert_eq!(
            used.len(),
            1,
            "{engine:?}: {:?}",
            answers.iter().map(|answer| answer.status).collect::<Vec<_>>()
        );
        assert!(answers.iter().all(|answer| answer.token().is_none()));
        assert_eq!(comes_in(&stage, "linus", &format!("river-candle-5{}", used[0])).await, "My apps");
        assert_eq!(comes_in(&stage, "linus", PASSWORD).await, "Enter your password");
        before.get(&stage.portal("/apps")).await;
        assert_eq!(before.title(), "Sign in", "sessions from before have ended");
        visitor.get(&link).await;
        assert_eq!((visitor.title().as_str(), visitor.status.as_u16()), ("This link was already used", 410));
        let again = form.send().await;
        assert_eq!((again.status, again.title().as_str()), (410, "This link was already used"));
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_07_a075_a_password_link_runs_out_and_opens_no_account_that_was_stopped() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let (admin, by) = (&stage.house().admin, Authority::system());
        let linus = stage.user("linus").await;
        let filled = async |link: &str| {
            let mut visitor = stage.visitor();
            visitor.get(link).await;
            (visitor.ready(&[("password", "river-candle-58")]), visitor)
        };
        let (form, mut visitor) = filled(&password_link(&stage, "linus").await).await;
        stage.advance(Span::minutes(30)).await;
        let url = visitor.url.clone();
        visitor.get(&url).await;
        assert_eq!((visitor.title().as_str(), visitor.status.as_u16()), ("This link has expired", 410));
        assert_eq!(form.send().await.status, 410);

        let (form, mut visitor) = filled(&password_link(&stage, "linus").await).await;
        admin.suspend_user(&by, linus, "a test", None).await.unwrap();
        let url = visitor.url.clone();
        visitor.get(&url).await;
        assert_eq!(visitor.status, 410);
        assert_eq!(form.send().await.status, 410);
        assert!(admin.password_link(&by, linus, Span::minutes(30)).await.is_err());
        admin.activate_user(&by, linus).await.unwrap();
        assert_eq!(comes_in(&stage, "linus", "river-candle-58").await, "Enter your password");
        assert_eq!(comes_in(&stage, "linus", PASSWORD).await, "My apps");

        let (form, _) = filled(&password_link(&stage, "linus").await).await;
        admin.deactivate_user(&by, linus).await.unwrap();
        assert_eq!(form.send().await.status, 410, "{engine:?}");

        let mut visitor = stage.visitor();
        visitor.get(&stage.portal(&format!("/password/set/{}", "A".repeat(43)))).await;
        assert_eq!((visitor.title().as_str(), visitor.status.as_u16()), ("This link does not work", 404));
        // A link for one purpose is none for the other.
        without_administrators(&stage).await;
        let setup = setup_link(&stage).await;
        visitor.get(&setup.replace("/setup/", "/password/set/")).await;
        assert_eq!(visitor.status, 404);
        visitor.get(&password_link(&stage, "grace").await.replace("/password/set/", "/setup/")).await;
        assert_eq!(visitor.status, 410);
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_07_mfa_01_a_password_link_does_not_pass_by_the_second_factor() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let mut before = stage.signed_in("ada").await;
        let link = password_link(&stage, "ada").await;
        let mut visitor = stage.visitor();
        visitor.get(&link).await;
        visitor.submit(&[("password", "river-candle-58")]).await;
        assert_eq!(visitor.title(), "Sign in");
        before.get(&stage.portal("/apps")).await;
        assert_eq!(before.title(), "Sign in");
        visitor.submit(&[("identifier", "ada")]).await;
        visitor.submit(&[("password", "river-candle-58")]).await;
        assert_eq!(visitor.title(), "Enter your code", "{engine:?}");
        let mut tab = visitor.tab();
        tab.get(&stage.portal("/apps")).await;
        assert_eq!(tab.title(), "Sign in");
        stage.advance(Span::minutes(1)).await;
        visitor.submit(&[("code", &stage.ada_code())]).await;
        assert_eq!(visitor.title(), "My apps");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_11_after_a_reset_the_code_for_the_next_enrolment_is_asked_for() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let mut ada = stage.signed_in("ada").await;
        let user = stage.user("ada").await;
        let reset = stage.house().admin.reset_mfa(&Authority::system(), user).await.unwrap();
        ada.get(&stage.portal("/apps")).await;
        assert_eq!(ada.title(), "Sign in");
        // Whoever has only the password cannot enrol in the person's place.
        let mut visitor = stage.visitor();
        visitor.get(&stage.url("reports.cardea", "/")).await;
        visitor.submit(&[("identifier", "ada")]).await;
        visitor.submit(&[("password", PASSWORD)]).await;
        assert_eq!(visitor.title(), "Set up an authenticator app");
        let key = visitor.attribute("#key", "data-value").unwrap();
        let code = super::authenticator(&key).code(stage.now());
        for wrong in ["", "ABCDE-FGHJK", "x"] {
            let answer = visitor.ready(&[("code", &code), ("enrol_code", wrong)]).send().await;
            assert_eq!(
                (answer.token(), answer.title().as_str()),
                (None, "Set up an authenticator app"),
                "{wrong}"
            );
        }
        visitor.submit(&[("code", &code), ("enrol_code", &reset.text.expose().to_lowercase())]).await;
        assert_eq!(visitor.title(), "Keep your recovery codes", "{engine:?}: {}", visitor.text());
        visitor.press("/me/security/recovery").await;
        assert_eq!(visitor.title(), "Hello, Ada Lovelace");
        stage.demo.stop().await;
    }
}
