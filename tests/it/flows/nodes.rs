//! Two nodes on one database: what is known on one is known on the other.

use std::time::{Duration, Instant};

use cardea::access::Authority;
use cardea::admin::Given;
use cardea::demo::PASSWORD;
use cardea::domain::{PlacePath, Span};

use super::{at_code, enrol};
use crate::support::stage::{Ready, Stage, Visitor, all_at_once};

/// How long until an address answers a visitor otherwise than with 200.
async fn until_refused(visitor: &Visitor, url: &str) -> (Duration, u16) {
    let begun = Instant::now();
    loop {
        let (status, _) = visitor.fetch(url).await;
        if status != 200 {
            return (begun.elapsed(), status.as_u16());
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "still open after five seconds");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Somebody signed in on one node and seen on both.
async fn on_both(one: &Stage, two: &Stage, name: &str, host: &str) -> Visitor {
    let mut visitor = one.signed_in(name).await;
    visitor.get(&one.url(host, "/")).await;
    for stage in [one, two] {
        assert_eq!(visitor.fetch(&stage.url(host, "/")).await.0, 200, "{name} at {host}");
        assert_eq!(visitor.fetch(&stage.portal("/apps")).await.0, 200);
    }
    visitor
}

#[tokio::test(flavor = "multi_thread")]
async fn node_01_sess_06_signing_out_is_known_everywhere_within_a_second() {
    let (one, two) = Stage::pair().await;
    let mut longest = Duration::ZERO;
    for round in 0..20 {
        // Here and there in turn, at the portal and at an app in turn.
        let (here, there) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let mut visitor = on_both(here, there, "grace", "lantern.cardea").await;
        let from = if round % 4 < 2 {
            here.portal("/sign-out")
        } else {
            here.url("lantern.cardea", "/.cardea/sign-out")
        };
        visitor.get(&from).await;
        let form = visitor.ready(&[]);
        // The cookies are kept, as a thief would.
        let keeper = kept(&visitor, here);
        let answer = form.send().await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        for url in [here.url("lantern.cardea", "/"), here.portal("/apps")] {
            assert_eq!(keeper.fetch(&url).await.0, 401, "at once on the node itself");
        }
        let (after, status) = until_refused(&keeper, &there.url("lantern.cardea", "/")).await;
        assert_eq!(status, 401);
        assert_eq!(keeper.fetch(&there.portal("/apps")).await.0, 401);
        longest = longest.max(after);
    }
    assert!(longest <= Duration::from_secs(1), "the longest of 20 rounds took {longest:?}");
    one.demo.stop().await;
    two.demo.stop().await;
}

/// A browser with the cookies that another one has now.
fn kept(visitor: &Visitor, stage: &Stage) -> Visitor {
    let keeper = stage.visitor();
    for url in [stage.portal("/"), stage.url("lantern.cardea", "/")] {
        let token = visitor.cookie(&url, "cardea").unwrap();
        keeper.jar.add_cookie_str(&format!("cardea={token}; Path=/"), &url::Url::parse(&url).unwrap());
    }
    keeper
}

#[tokio::test(flavor = "multi_thread")]
async fn node_01_a074_f21_f22_what_an_administrator_changes_acts_here_at_once_and_there_within_a_second() {
    let (one, two) = Stage::pair().await;
    let (admin, by) = (&one.house().admin, Authority::system());
    let acme = one.house().board.snapshot.load().place(&PlacePath::parse("acme").unwrap()).unwrap();
    let grace = one.user("grace").await;
    let lantern = |stage: &Stage| stage.url("lantern.cardea", "/");

    // A group.
    let (linus, staff) = (one.user("linus").await, admin.group_named(&by, "acme/staff").await.unwrap());
    admin.join_group(&by, linus, staff).await.unwrap();
    let visitor = on_both(&one, &two, "linus", "lantern.cardea").await;
    admin.leave_group(&by, linus, staff).await.unwrap();
    assert_eq!(visitor.fetch(&lantern(&one)).await.0, 403);
    let (after, status) = until_refused(&visitor, &lantern(&two)).await;
    assert!(after <= Duration::from_secs(1) && status == 403, "{after:?}, {status}");
    admin.join_group(&by, linus, staff).await.unwrap();
    assert_eq!(
        visitor.fetch(&lantern(&one)).await.0,
        200,
        "and it comes back without a new sign-in (TENANT-13)"
    );

    // A role.
    let reports = |stage: &Stage| stage.url("reports.cardea", "/");
    let mut visitor = one.visitor();
    visitor.get(&reports(&one)).await;
    visitor.submit(&[("identifier", "grace")]).await;
    visitor.submit(&[("password", PASSWORD)]).await;
    enrol(&one, &mut visitor).await;
    for stage in [&one, &two] {
        assert_eq!(visitor.fetch(&reports(stage)).await.0, 200);
    }
    let analyst = one.house().board.snapshot.load().role_named(None, "analyst").unwrap().id;
    admin.revoke_role(&by, grace, Given { role: analyst, place: acme }).await.unwrap();
    assert_eq!(visitor.fetch(&reports(&one)).await.0, 403);
    let (after, status) = until_refused(&visitor, &reports(&two)).await;
    assert!(after <= Duration::from_secs(1) && status == 403, "{after:?}, {status}");

    // The account. Whoever comes back signs in anew (A077).
    let yana = one.user("yana").await;
    let partner = |stage: &Stage| stage.url("lantern.partner", "/");
    let visitor = on_both(&one, &two, "yana", "lantern.partner").await;
    admin.suspend_user(&by, yana, "a test", None).await.unwrap();
    assert_eq!(visitor.fetch(&partner(&one)).await.0, 401);
    assert_eq!(visitor.fetch(&one.portal("/apps")).await.0, 401);
    let (after, status) = until_refused(&visitor, &partner(&two)).await;
    assert!(after <= Duration::from_secs(1) && status == 401, "{after:?}, {status}");
    admin.activate_user(&by, yana).await.unwrap();
    for stage in [&one, &two] {
        assert_eq!(visitor.fetch(&partner(stage)).await.0, 401, "the old session stays dead");
    }
    let visitor = on_both(&one, &two, "yana", "lantern.partner").await;
    admin.deactivate_user(&by, yana).await.unwrap();
    assert_eq!(visitor.fetch(&partner(&one)).await.0, 401);
    assert!(until_refused(&visitor, &partner(&two)).await.0 <= Duration::from_secs(1));
    one.demo.stop().await;
    two.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_02_mfa_02_mfa_07_one_code_on_two_nodes_lets_one_in() {
    let (one, two) = Stage::pair().await;
    for round in 0..3 {
        let mut waiting = Vec::new();
        for stage in [&one, &two, &one, &two] {
            waiting.push(at_code(stage).await);
        }
        one.advance(Span::minutes(2)).await;
        one.align().await;
        one.house().admin.unlock_user(&Authority::system(), one.user("ada").await).await.unwrap();
        let code = one.ada_code();
        let forms: Vec<Ready> = waiting.iter().map(|visitor| visitor.ready(&[("code", &code)])).collect();
        let answers = all_at_once(&forms).await;
        assert_eq!(answers.iter().filter(|answer| answer.token().is_some()).count(), 1, "round {round}");
    }
    one.demo.stop().await;
    two.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_06_mfa_04_guesses_spread_over_two_nodes_are_counted_together() {
    let (one, two) = Stage::pair().await;
    let hashes = || one.house().hashing.done() + two.house().hashing.done();
    let mut forms = Vec::new();
    for stage in [&one, &two] {
        let form = stage.named("grace").await.ready(&[("password", "not-the-password-1")]);
        forms.extend((0..10).map(|_| form.clone()));
    }
    let before = hashes();
    let answers = all_at_once(&forms).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 8);
    assert_eq!(hashes() - before, 8);
    for stage in [&one, &two] {
        let right = stage.named("grace").await.ready(&[("password", PASSWORD)]);
        assert_eq!(right.send().await.status, 429);
    }
    let mut forms = Vec::new();
    for stage in [&one, &two] {
        let form = at_code(stage).await.ready(&[("code", "000000")]);
        forms.extend((0..10).map(|_| form.clone()));
    }
    let answers = all_at_once(&forms).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 5);
    one.demo.stop().await;
    two.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_02_pwd_07_a_link_used_on_two_nodes_at_once_works_once() {
    let (one, two) = Stage::pair().await;
    let linus = one.user("linus").await;
    for round in 0..3 {
        let link =
            one.house().admin.password_link(&Authority::system(), linus, Span::minutes(30)).await.unwrap();
        let path = link.text.expose().strip_prefix(&one.portal("")).unwrap().to_owned();
        let mut forms = Vec::new();
        for (n, stage) in [&one, &two, &one, &two].into_iter().enumerate() {
            let mut visitor = stage.visitor();
            visitor.get(&stage.portal(&path)).await;
            forms.push((
                format!("river-candle-{round}{n}"),
                visitor.ready(&[("password", &format!("river-candle-{round}{n}"))]),
            ));
        }
        let answers = all_at_once(&forms.iter().map(|(_, form)| form.clone()).collect::<Vec<_>>()).await;
        let used: Vec<usize> = (0..4).filter(|at| answers[*at].status == 303).collect();
        assert_eq!(
            used.len(),
            1,
            "round {round}: {:?}",
            answers.iter().map(|answer| answer.status).collect::<Vec<_>>()
        );
        let mut visitor = two.named("linus").await;
        visitor.submit(&[("password", &forms[used[0]].0)]).await;
        assert_eq!(visitor.title(), "My apps", "the password of the one that worked");
    }
    one.demo.stop().await;
    two.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn key_02_a_new_signing_key_is_known_everywhere() {
    let (one, two) = Stage::pair().await;
    let house = one.house();
    let new = house.admin.rotate_keys(&Authority::system()).await.unwrap();
    let begun = Instant::now();
    while two.house().keys.assertion().current().id() != new {
        assert!(begun.elapsed() < Duration::from_secs(5), "the other node still signs with the old key");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let published =
        async |stage: &Stage| stage.visitor().fetch(&stage.portal("/.well-known/cardea/jwks.json")).await.1;
    assert_eq!(published(&one).await, published(&two).await);
    one.demo.stop().await;
    two.demo.stop().await;
}
