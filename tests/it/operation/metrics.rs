//! What is counted.

use std::time::Duration;

use super::Site;
use super::reload::{ask, public_route, slow_upstream};

#[tokio::test(flavor = "multi_thread")]
async fn each_route_says_how_long_its_upstream_takes() {
    let site = Site::new(None);
    let slow = public_route("slow", slow_upstream(Duration::from_millis(300)));
    site.write(&format!("{slow}{}", public_route("down", 1)));
    let running = site.serve();
    for _ in 0..3 {
        assert!(ask(&site, "slow").ends_with("hello"));
    }
    assert!(ask(&site, "down").starts_with("HTTP/1.1 502"));
    let text =
        reqwest::get(format!("http://127.0.0.1:{}/metrics", site.ops)).await.unwrap().text().await.unwrap();
    let value = |line: &str| {
        let found = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {line} in {text}")).parse::<f64>().unwrap()
    };
    let bucket = |bound| value(&format!("cardea_upstream_seconds_bucket{{route=\"slow\",le=\"{bound}\"}}"));
    assert!(text.contains("# TYPE cardea_upstream_seconds histogram"), "{text}");
    assert!(bucket("0.25") < 0.5 && bucket("+Inf") > 2.5, "{text}");
    assert!(value("cardea_upstream_seconds_sum{route=\"slow\"}") >= 0.9);
    assert!(!text.contains("cardea_upstream_seconds_count{route=\"down\"}"), "it gave no answer: {text}");
    assert!(text.contains("# TYPE cardea_decision_seconds histogram"), "{text}");
    assert!(running.stop().success());
}
