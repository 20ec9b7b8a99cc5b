//! A sign-in that is parked halfway must be worth nothing once what it was proven with counts no more.

use cardea::access::Authority;
use cardea::demo::PASSWORD;
use cardea::domain::{Password, Secret, UserId, Username};
use cardea::protocol::totp::Seed;
use cardea::store::users;

use crate::support::stage::{ENGINES, Engine, Stage, Visitor};

async fn id_of(stage: &Stage, name: &str) -> UserId {
    let mut conn = stage.house().db.read().await.unwrap();
    users::by_username(&mut conn, &Username::parse(name).unwrap()).await.unwrap().unwrap().id
}

/// Somebody with grace's password, parked where Reports has her set up an authenticator; and the seed that is offered.
async fn parked(stage: &Stage) -> (Visitor, Seed) {
    let mut visitor = stage.visitor();
    visitor.get(&stage.url("reports.cardea", "/")).await;
    visitor.submit(&[("identifier", "grace")]).await;
    visitor.submit(&[("password", PASSWORD)]).await;
    assert_eq!(visitor.title(), "Set up an authenticator app");
    let text = visitor.text();
    let words: Vec<&str> = text.split_whitespace().collect();
    let group = |word: &&str| {
        word.len() == 4 && word.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b))
    };
    let at = words.windows(8).position(|eight| eight.iter().all(group)).expect("the key is on the page");
    let key = words[at..at + 8].concat();
    let seed =
        Seed::from_bytes(Secret::new(data_encoding::BASE32_NOPAD.decode(key.as_bytes()).unwrap())).unwrap();
    (visitor, seed)
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_08_f64_a_changed_password_ends_sign_ins_that_are_under_way() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let (mut thief, seed) = parked(&stage).await;
        let mut grace = stage.signed_in("grace").await;
        grace.get(&stage.portal("/password/change")).await;
        grace
            .submit(&[("current", PASSWORD), ("password", "kettle-orchard-77"), ("sign_out_others", "1")])
            .await;
        let code = seed.code(stage.now());
        thief.submit(&[("code", &code)]).await;
        assert_ne!(thief.title(), "Keep your recovery codes", "{engine:?}");
        thief.get(&stage.url("reports.cardea", "/")).await;
        assert_eq!(thief.title(), "Sign in", "{engine:?}");
        grace.get(&stage.url("lantern.cardea", "/")).await;
        assert_eq!(grace.title(), "Hello, Grace Hopper", "{engine:?}");
        stage.demo.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sess_07_suspended_and_activated_again_a_parked_sign_in_stays_dead() {
    let stage = Stage::open(Engine::Sqlite).await;
    let (mut thief, seed) = parked(&stage).await;
    let (by, grace) = (Authority::operator("test"), id_of(&stage, "grace").await);
    stage.house().admin.suspend_user(&by, grace, "lost phone", None).await.unwrap();
    stage.house().admin.activate_user(&by, grace).await.unwrap();
    thief.submit(&[("code", &seed.code(stage.now()))]).await;
    assert_ne!(thief.title(), "Keep your recovery codes");
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pwd_07_a_second_password_of_the_administrator_ends_what_began_with_the_first() {
    let stage = Stage::open(Engine::Sqlite).await;
    let (by, grace) = (Authority::operator("test"), id_of(&stage, "grace").await);
    let set = async |text: &str| {
        let password = Password::parse(text).unwrap();
        stage.house().admin.set_password(&by, grace, &password, cardea::admin::Sessions::Keep).await.unwrap();
    };
    set("first-harbour-51").await;
    let mut thief = stage.visitor();
    thief.get(&stage.portal("/apps")).await;
    thief.submit(&[("identifier", "grace")]).await;
    thief.submit(&[("password", "first-harbour-51")]).await;
    assert_eq!(
        thief.way.last().unwrap().0.split('?').next(),
        Some(stage.portal("/password/change").as_str())
    );
    set("second-harbour-52").await;
    thief.submit(&[("password", "thief-meadow-93")]).await;
    assert_ne!(thief.title(), "My apps");
    let mut again = stage.visitor();
    again.get(&stage.portal("/apps")).await;
    again.submit(&[("identifier", "grace")]).await;
    again.submit(&[("password", "thief-meadow-93")]).await;
    assert_eq!(again.title(), "Enter your password", "the thief's password was not taken");
    stage.demo.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mfa_06_of_several_first_enrolments_at_one_moment_one_wins() {
    for engine in ENGINES {
        let stage = Stage::open(engine).await;
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(parked(&stage).await);
        }
        let now = stage.now();
        let tries = all.into_iter().map(|(mut visitor, seed)| {
            tokio::spawn(async move {
                visitor.submit(&[("code", &seed.code(now))]).await;
                visitor.title() == "Keep your recovery codes"
            })
        });
        let mut won = 0;
        for one in tries.collect::<Vec<_>>() {
            won += usize::from(one.await.unwrap());
        }
        assert_eq!(won, 1, "{engine:?}");
        stage.demo.stop().await;
    }
}

/// Eight wrong passwords under one name, then one under another name of the same account: told as to an unknown name.
#[tokio::test(flavor = "multi_thread")]
async fn pwd_04_the_shared_counter_does_not_tell_which_names_are_one_persons() {
    let stage = Stage::open(Engine::Sqlite).await;
    let mut answers = Vec::new();
    for (first, then) in [("yana", "yana@globex.example"), ("zed", "zed@globex.example")] {
        let mut visitor = stage.visitor();
        for name in std::iter::repeat_n(first, 8).chain([then]) {
            visitor.get(&stage.portal("/sign-in")).await;
            visitor.submit(&[("identifier", name)]).await;
            visitor.submit(&[("password", "not-the-password-1")]).await;
        }
        answers.push((visitor.status, visitor.title(), visitor.text().contains("Too many")));
    }
    assert_eq!(answers[0], answers[1]);
    // And the counter is shared all the same: the right password under the other name does not open either.
    let mut yana = stage.visitor();
    yana.get(&stage.portal("/sign-in")).await;
    yana.submit(&[("identifier", "yana@globex.example")]).await;
    yana.submit(&[("password", PASSWORD)]).await;
    assert_eq!(yana.title(), "Enter your password");
    stage.demo.stop().await;
}
