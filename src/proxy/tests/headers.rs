//! What a route changes about header fields, and where apps send people.

use super::house::{House, Plan, route, rule};
use crate::domain::header::Edits;
use crate::proxy::{Front, Settings};

fn edits(set: &[(&str, &str)], remove: &[&str]) -> Edits {
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Edits::new(set, &remove.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

/// On both fronts.
fn houses(request: &Edits, answer: &Edits) -> [House; 2] {
    [Front::Strict, Front::Hyper].map(|front| {
        let (request, answer) = (request.clone(), answer.clone());
        House::with(Plan {
            settings: Settings { front, ..Settings::default() },
            routes: Box::new(move |upstream| {
                let mut app = route("app", "app.example", &[upstream], vec![rule("/wiki/*", "signed-in")]);
                (app.prefix, app.rewrite) = ("/wiki".to_owned(), Some("/docs".to_owned()));
                (app.request_headers, app.answer_headers) = (request.clone(), answer.clone());
                vec![app]
            }),
            ..Plan::default()
        })
    })
}

#[test]
fn proxy_05_a_route_changes_headers_and_identity_arrives_once() {
    let request = edits(&[("X-Site", "main"), ("Authorization", "Basic eDp5")], &["Accept-Encoding"]);
    for house in houses(&request, &Edits::default()) {
        let (_, token) = house.signed_in(house.ada, "app.example");
        let cookie = format!("cardea={token}");
        let fields = [
            ("cookie", cookie.as_str()),
            ("x_site", "evil"),
            ("X-SITE", "evil"),
            ("authorization", "Bearer stolen"),
            ("accept-encoding", "gzip"),
            ("accept", "*/*"),
            ("cardea-user", "evil"),
        ];
        assert_eq!(house.ask("GET", "app.example", "/wiki/x", &fields).status, 200);
        let seen = house.upstream.last();
        assert_eq!((seen.one("x-site"), seen.one("authorization")), ("main", "Basic eDp5"));
        assert_eq!(seen.one("accept"), "*/*");
        for gone in ["x_site", "accept-encoding"] {
            assert!(seen.all(gone).is_empty(), "{seen:?}");
        }
        assert_eq!(seen.one("cardea-user"), house.ada.to_string());
        for ours in ["cardea-assertion", "cardea-request-id", "x-forwarded-for", "host"] {
            assert_eq!(seen.all(ours).len(), 1, "{ours}");
        }
    }
}

#[test]
fn proxy_19_a_route_changes_answers_and_they_stay_private() {
    let answer = edits(
        &[("X-Frame-Options", "DENY"), ("Cache-Control", "public, max-age=60")],
        &["Server", "x-powered-by"],
    );
    for house in houses(&Edits::default(), &answer) {
        let (_, token) = house.signed_in(house.ada, "app.example");
        house.upstream.say(
            "HTTP/1.1 200 OK\r\nserver: thing/1.0\r\nX-Powered_By: thing\r\nx-frame-options: ALLOWALL\r\n\
             cache-control: no-cache\r\nx-kept: 1\r\nset-cookie: cardea=evil\r\ncontent-length: 2\r\n\r\nok",
        );
        let answer = house.get("/wiki/x", &token);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        assert_eq!(answer.all("x-frame-options"), ["DENY"]);
        assert_eq!(answer.all("cache-control"), ["private, max-age=60"]);
        assert_eq!(answer.field("x-kept"), Some("1"));
        for gone in ["server", "x-powered_by", "x-powered-by", "set-cookie"] {
            assert!(answer.field(gone).is_none(), "{gone}");
        }
        // Answers of ours are not the app's.
        assert!(house.ask("GET", "app.example", "/wiki/x", &[]).field("x-frame-options") != Some("DENY"));
    }
}

#[test]
fn proxy_16_an_app_sends_people_where_they_know_it() {
    for house in houses(&Edits::default(), &Edits::default()) {
        let (_, token) = house.signed_in(house.ada, "app.example");
        let own = house.upstream.address;
        for (said, heard) in [
            ("/docs/new?x=1".to_owned(), "/wiki/new?x=1"),
            (format!("http://{own}/docs/new"), "http://app.example/wiki/new"),
            ("http://app.example/docs/".to_owned(), "http://app.example/wiki/"),
            ("https://elsewhere.example/docs/x".to_owned(), "https://elsewhere.example/docs/x"),
            ("next".to_owned(), "next"),
        ] {
            house.upstream.say(&format!(
                "HTTP/1.1 302 Found\r\nlocation: {said}\r\nContent-Location: {said}\r\ncontent-length: 0\r\n\r\n"
            ));
            let answer = house.get("/wiki/x", &token);
            assert_eq!((answer.status, answer.all("location")), (302, vec![heard]));
            assert_eq!(answer.all("content-location"), [heard]);
        }
    }
}
