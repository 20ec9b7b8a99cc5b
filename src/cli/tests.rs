use clap::CommandFactory as _;

use crate::app::control::{Answer, Exit, Once, Table, Typed};

use super::args::Args;
use super::output::{Screen, Style, csv, json};

#[test]
fn the_words_hold_together() {
    Args::command().debug_assert();
}

#[test]
fn every_verb_is_there_and_none_takes_a_secret() {
    let verbs = [
        "init --public-url https://a.example",
        "check --strict --format json",
        "schema",
        "reload",
        "status",
        "explain grace https://wiki.example.com/ --mfa --ip 192.0.2.1 --method POST --via oidc:entra",
        "explain D-7K3M-Q2XR",
        "who-can reports:read --at acme/europe",
        "can grace",
        "admin invite --valid 10m",
        "admin unlock 192.0.2.1",
        "tenant create acme --name Acme --domain acme.example --require-mfa --owner ada",
        "tenant edit acme --no-domains --require-mfa false",
        "tenant suspend acme --reason unpaid --for 7d",
        "tenant transfer acme --to ada",
        "org create acme europe",
        "dept create acme/europe finance --name Finance",
        "user create grace --join acme/europe --role analyst@acme --group staff --valid 7d",
        "user create robot --password-stdin",
        "user set-password grace --keep-sessions",
        "user reset-mfa grace",
        "user import -",
        "user export grace --output json",
        "group join acme/staff grace",
        "role create analyst --tenant acme --scope department -p reports:read -p reports:export --exclusive",
        "role edit analyst --add reports:write --remove reports:read --exclusive false",
        "role grant reports:read grace --at acme",
        "role diff analyst viewer",
        "session revoke-all grace --yes",
        "audit tail --follow",
        "audit show D-7K3M-Q2XR",
        "db migrate",
        "db check",
        "db backup copy.db",
        "db reseal",
        "version",
    ];
    for verb in verbs {
        let words = std::iter::once("cardea").chain(verb.split_whitespace());
        assert!(<Args as clap::Parser>::try_parse_from(words).is_ok(), "{verb}");
    }
    for wrong in [
        "user set-password grace maple-ferry-31",
        "user create grace --password maple-ferry-31",
        "user create grace --password --valid 7d",
        "audit tail --follow --tenant acme",
        "tenant suspend acme",
        "admin invite --valid soon",
    ] {
        let words = std::iter::once("cardea").chain(wrong.split_whitespace());
        assert!(<Args as clap::Parser>::try_parse_from(words).is_err(), "{wrong}");
    }
}

fn answer() -> Answer {
    let rows = vec![
        vec!["grace".to_owned(), "=SUM(A1)".to_owned()],
        vec!["a,b".to_owned(), "say \"so\"".to_owned()],
    ];
    Answer {
        table: Some(Table { columns: vec!["name".to_owned(), "last sign in".to_owned()], rows }),
        ..Answer::default()
    }
}

#[test]
fn the_same_answer_for_people_programs_and_spreadsheets() {
    let screen = Screen { style: Style::Table, color_out: false, color_err: false };
    assert_eq!(screen.people(&answer()), "NAME   LAST SIGN IN\ngrace  =SUM(A1)\na,b    say \"so\"\n");
    assert_eq!(csv(&answer()), "name,last_sign_in\r\ngrace,'=SUM(A1)\r\n\"a,b\",\"say \"\"so\"\"\"\r\n");
    assert_eq!(json(&answer(), false)[0]["last_sign_in"], "=SUM(A1)");
    let refused = Answer {
        exit: Exit::Refused,
        code: Some("last_admin".to_owned()),
        text: vec!["no".to_owned()],
        ..Answer::default()
    };
    assert_eq!(json(&refused, true)["code"], "last_admin");
}

#[test]
fn a_secret_is_written_on_demand_only() {
    let once =
        Once { name: "link".to_owned(), label: "once".to_owned(), text: Typed::new("secret".to_owned()) };
    let answer = Answer { json: serde_json::json!({ "id": 1 }), once: vec![once], ..Answer::default() };
    assert_eq!(json(&answer, false), serde_json::json!({ "id": 1 }));
    assert_eq!(json(&answer, true)["link"], "secret");
}
