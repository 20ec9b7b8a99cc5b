//! Forms: only from our own pages, in the browser that they were given to.

use cardea::demo::PASSWORD;

use super::at_code;
use crate::support::stage::{Answer, Engine, Ready, Stage};

/// A form sent in every way in which it may not be sent.
async fn attacks(stage: &Stage, form: &Ready) -> Vec<(String, Answer)> {
    let mut stranger = stage.visitor();
    stranger.get(&stage.portal("/sign-in")).await;
    let foreign = stranger.ready(&[("identifier", "")]).value("csrf").to_owned();
    let mut elsewhere = form.clone();
    elsewhere.client = stranger.client.clone();
    let evil = "https://evil.example";
    let other_app = stage.url("lantern.cardea", "");
    let mut answers = Vec::new();
    for (what, form) in [
        ("from another site", form.clone().header("origin", evil).header("sec-fetch-site", "cross-site")),
        ("from another site, which an old browser does not say", form.clone().header("origin", evil)),
        ("from an app", form.clone().header("origin", &other_app).header("sec-fetch-site", "same-site")),
        ("from an app, by its origin", form.clone().header("origin", &other_app)),
        ("from nowhere", form.clone().header("origin", "null")),
        ("cross-site", form.clone().header("sec-fetch-site", "cross-site")),
        ("same-site", form.clone().header("sec-fetch-site", "same-site")),
        (
            "the portal's origin without its port",
            form.clone().header("origin", "http://access.cardea.localhost"),
        ),
        ("without a tag", form.clone().without("csrf")),
        ("with an empty tag", form.clone().with("csrf", "")),
        ("with another browser's tag", form.clone().with("csrf", &foreign)),
        ("with half a tag", form.clone().with("csrf", &form.value("csrf")[..20])),
        ("in another browser", elsewhere.clone()),
        ("in another browser, with that one's tag", elsewhere.clone().with("csrf", &foreign)),
        ("in a browser that was never here", Ready { client: stage.visitor().client, ..form.clone() }),
    ] {
        answers.push((what.to_owned(), form.send().await));
    }
    // Other encodings, which forms of other sites can send or two programs read in two ways.
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.form).finish();
    let twice = format!("{body}&csrf={}", form.value("csrf"));
    let json =
        serde_json::to_string(&form.form.iter().cloned().collect::<std::collections::BTreeMap<_, _>>())
            .unwrap();
    for (kind, body) in [
        ("text/plain", &body),
        ("application/json", &json),
        ("multipart/form-data; boundary=x", &body),
        ("application/x-www-form-urlencoded", &twice),
    ] {
        let request = form
            .client
            .post(&form.url)
            .header("content-type", kind)
            .header("accept", "text/html")
            .body(body.clone());
        answers.push((kind.to_owned(), Answer::of(request.send().await.unwrap()).await));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_04_f65_forms_are_taken_from_our_pages_only() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut visitor = stage.visitor();
    visitor.get(&stage.portal("/sign-in")).await;
    let name = visitor.ready(&[("identifier", "grace")]);
    let word = stage.named("grace").await.ready(&[("password", PASSWORD)]);
    let code = at_code(&stage).await.ready(&[("code", &stage.ada_code())]);
    let mut signed_in = stage.signed_in("grace").await;
    signed_in.get(&stage.portal("/password/change")).await;
    let change = signed_in.ready(&[("current", PASSWORD), ("password", "river-candle-58")]);
    let out = Ready { url: stage.portal("/sign-out"), ..change.clone() };
    let others = Ready { url: stage.portal("/me/sessions/revoke-others"), ..change.clone() };
    for form in [&name, &word, &code, &change, &out, &others] {
        let before = stage.house().hashing.done();
        for (what, answer) in attacks(&stage, form).await {
            let what = format!("{} {what}: {} {}", form.url, answer.status, answer.title());
            let harmless =
                answer.status == 303 && answer.location().is_some_and(|to| to.starts_with("/sign-in"));
            if what.contains("with that one's tag") {
                // A proper form of another browser: about somebody else's sign-in or nobody's session it does nothing.
                assert!(
                    harmless
                        || answer.status == 400
                        || form.url == name.url
                        || answer.location().as_deref() == Some("/signed-out"),
                    "{what}"
                );
            } else if form.url == name.url && what.contains("tag") || what.contains("in another browser:") {
                // The first form proves nothing: the browser's word that it came from this origin is enough for it.
                let refused = matches!(answer.status, 400 | 403);
                assert!(refused || form.url == name.url && harmless, "{what}");
            } else {
                assert!(matches!(answer.status, 400 | 403), "{what}");
            }
            assert_eq!(answer.token(), None, "{what}");
        }
        assert_eq!(stage.house().hashing.done(), before, "{}: nothing was hashed", form.url);
    }
    // As they were meant, they work still, also from a browser that says nothing of where they come from.
    assert!(name.send().await.location().unwrap().starts_with("/sign-in/password?flow="));
    assert!(word.send().await.token().is_some());
    assert!(code.send().await.token().is_some());
    let bare = form_urlencoded::Serializer::new(String::new()).extend_pairs(&change.form).finish();
    let request = change
        .client
        .post(&change.url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "text/html")
        .body(bare);
    assert!(Answer::of(request.send().await.unwrap()).await.token().is_some());
    stage.demo.stop().await;
}

/// Each tab is given a binding cookie of its own, and the browser keeps the last.
#[tokio::test(flavor = "multi_thread")]
async fn tabs_that_a_browser_opens_at_once_all_begin() {
    let stage = Stage::open(Engine::Sqlite).await;
    let (mut first, mut last) = (stage.visitor(), stage.visitor());
    first.get(&stage.portal("/sign-in?return_to=%2Fme%2Fsessions")).await;
    last.get(&stage.portal("/sign-in")).await;
    let mut early = first.ready(&[("identifier", "grace")]);
    let late = last.ready(&[("identifier", "ada")]);
    early.client = last.client.clone();
    for form in [&early, &late] {
        let answer = form.send().await;
        assert!(
            answer.location().is_some_and(|to| to.starts_with("/sign-in/password?flow=")),
            "{}",
            answer.text()
        );
    }
    // Where the browser does not say that the form is ours, the tag alone counts.
    assert_eq!(early.clone().header("sec-fetch-site", "none").send().await.status, 403);
    assert_eq!(late.clone().header("sec-fetch-site", "none").send().await.status, 303);
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_04_nobody_is_signed_in_as_somebody_else_with_a_flow_of_another_browser() {
    let stage = Stage::open(Engine::Sqlite).await;
    // The attacker's own sign-in, one right password and one right code away from its end.
    let attacker = stage.named("linus").await.ready(&[("password", PASSWORD)]);
    let further = at_code(&stage).await.ready(&[("code", &stage.ada_code())]);
    let mut victim = stage.visitor();
    victim.get(&stage.portal("/sign-in")).await;
    let own = victim.ready(&[("identifier", "grace")]);
    for planted in [&attacker, &further] {
        let mut form = planted.clone().with("csrf", own.value("csrf"));
        form.client = own.client.clone();
        let answer = form.send().await;
        assert_eq!(
            (answer.status, answer.token(), answer.title().as_str()),
            (400, None, "Start again"),
            "{}",
            answer.text()
        );
        // Nor by an address.
        for page in [
            "/sign-in/password",
            "/sign-in/verify",
            "/sign-in/recovery",
            "/password/change",
            "/me/security/totp",
        ] {
            let answer = victim.look(&stage.portal(&format!("{page}?flow={}", planted.value("flow")))).await;
            assert!(
                answer.token().is_none() && (answer.status == 400 || answer.location().is_some()),
                "{page}: {}",
                answer.status
            );
        }
    }
    // Nothing of it was spent.
    assert!(further.send().await.token().is_some());
    assert!(attacker.send().await.token().is_some());
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_04_signing_out_at_an_app_is_not_for_other_sites() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut grace = stage.signed_in("grace").await;
    let lantern = stage.url("lantern.cardea", "/");
    grace.get(&lantern).await;
    let url = stage.url("lantern.cardea", "/.cardea/sign-out");
    for fields in [
        [("origin", "https://evil.example")].as_slice(),
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", &stage.url("access.cardea", ""))],
        &[],
    ] {
        let mut request = grace.client.post(&url).header("accept", "text/html");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert!(
            matches!(answer.status, 400 | 403) && answer.cookies().is_empty(),
            "{fields:?}: {}",
            answer.status
        );
        assert_eq!(grace.fetch(&lantern).await.0, 200, "{fields:?}");
    }
    stage.demo.stop().await;
}
