//! Routes and their policies: words looked up, rules weighed against one another.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Code;
use super::catalogue::{Catalogue, once};
use super::compile::within;
use super::desk::{Desk, nearest};
use super::headers::{edits, identity};
use super::kinds::{HeaderLines, HeaderName, RESERVED, To, local};
use super::raw;
use super::read::{Maybe, Written};
use super::settings::{Landing, PublicUrl};
use super::tls;
use super::tree::Spot;
use crate::domain::address::{Author, Wrote, admitted};
use crate::domain::header::{Direction, Edits};
use crate::domain::policy::{Access, How, Needs, PathPattern, Rule, Who};
use crate::domain::pool::{self, HealthCheck, Pool};
use crate::domain::route::{Protocol, Route, Transport, Upstream, WebSocket};
use crate::domain::target::{Case, Unusual};
use crate::domain::{Hostname, Slug, Span};

/// What routes are weighed against.
pub(super) struct Surroundings<'s> {
    pub(super) catalogue: &'s Catalogue,
    pub(super) networks: &'s BTreeMap<Slug, Vec<ipnet::IpNet>>,
    /// Absent when it could not be read.
    pub(super) public_url: Option<&'s PublicUrl>,
    /// Every address that Cardea itself listens on.
    pub(super) listen: Vec<SocketAddr>,
    /// Whether other proxies can ask at all.
    pub(super) forward_auth: bool,
    /// The headers that carry identity on some route, by their folded names.
    pub(super) carriers: HashSet<String>,
}

/// All routes, and the landings that name them.
pub(super) fn routes(root: &raw::Root, around: &Surroundings<'_>, desk: &mut Desk<'_>) -> Vec<Route> {
    let names = names(root, desk);
    hosts(root, around, desk);
    let routes: Vec<Route> = root
        .route
        .iter()
        .zip(&names)
        .filter_map(|(raw, name)| {
            Reader { raw, around, tenant: tenant(raw, around) }.route(name.clone(), desk)
        })
        .collect();
    let default = root.sign_in.0.as_ref().and_then(|sign_in| match &sign_in.default_landing.value {
        Landing::Apps => None,
        Landing::Route(name) => Some(Written { value: name.clone(), spot: sign_in.default_landing.spot }),
    });
    for landing in around.catalogue.landings.iter().chain(&default) {
        if names.iter().flatten().any(|name| *name == landing.value) || desk.torn.contains("route") {
            continue;
        }
        let known = names.iter().flatten().map(Slug::as_str);
        let help = match nearest(landing.value.as_str(), known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "name a route, or leave the key out".to_owned(),
        };
        desk.fault(Code::UnknownRoute, landing.spot, format!("there is no route \"{}\"", landing.value))
            .help(help);
    }
    routes
}

/// The tenant a route belongs to.
fn tenant<'r>(raw: &'r raw::Route, around: &'r Surroundings<'_>) -> Option<&'r Slug> {
    match &raw.tenant.0 {
        Some(written) => written.value.0.as_ref(),
        None => around.catalogue.only_tenant(),
    }
}

/// The name of each route, as written or after its host.
fn names(root: &raw::Root, desk: &mut Desk<'_>) -> Vec<Option<Slug>> {
    let derived = |raw: &raw::Route| {
        raw.host.value.as_str().split('.').next().and_then(|label| Slug::parse(label).ok())
    };
    let all: Vec<Option<Slug>> = root
        .route
        .iter()
        .map(|raw| raw.name.0.as_ref().map(|name| name.value.clone()).or_else(|| derived(raw)))
        .collect();
    let mut seen = Vec::new();
    for (at, (raw, name)) in root.route.iter().zip(&all).enumerate() {
        match (&raw.name.0, name) {
            (Some(written), _) => {
                once(&mut seen, &written.value, written.spot, &format!("route \"{}\"", written.value), desk);
            }
            (None, Some(name)) => {
                // Two on one address are one mistake, and told as such.
                let apart = |other: &raw::Route| {
                    (&other.host.value, &other.path.value.0) != (&raw.host.value, &raw.path.value.0)
                };
                let other = all.iter().zip(&root.route).enumerate().any(|(other, (known, route))| {
                    other != at && known.as_ref() == Some(name) && apart(route)
                });
                if other {
                    desk.fault(
                        Code::NoName,
                        raw.host.spot,
                        format!("another route is called \"{name}\" already"),
                    )
                    .label("the name is taken from the host")
                    .help("write name = \"…\"");
                }
            }
            (None, None) => {
                desk.fault(Code::NoName, raw.host.spot, "no name can be taken from this host")
                    .help("write name = \"…\"");
            }
        }
    }
    all
}

/// Whether the hosts of routes and portal can live beside one another.
fn hosts(root: &raw::Root, around: &Surroundings<'_>, desk: &mut Desk<'_>) {
    let mut addresses: Vec<(&Hostname, &str, Spot)> = Vec::new();
    let mut owners: Vec<(&Hostname, Option<&Slug>, Spot)> = Vec::new();
    for raw in &root.route {
        let (host, spot, owner) = (&raw.host.value, raw.host.spot, tenant(raw, around));
        if let Some(url) = around.public_url {
            if *host == url.host {
                desk.fault(Code::PortalHost, spot, format!("{host} is the host of the portal"))
                    .help("give the app a host of its own: what it runs there could act as the portal");
            } else if !url.secure() && !local(host) {
                desk.fault(Code::PlainHost, spot, format!("browsers reach {host} over plain HTTP"))
                    .label("sessions could be read on the way")
                    .help("use a name under .localhost, or https in server.public_url");
            }
        }
        let prefix = raw.path.value.0.as_str();
        match addresses.iter().find(|(known, path, _)| *known == host && *path == prefix) {
            Some((_, _, first)) => {
                desk.fault(Code::SameAddress, spot, format!("there is a second route on {host}{prefix}"))
                    .label("again here")
                    .help("give one of them another path, or put their rules together")
                    .also(*first, "first here");
            }
            None => addresses.push((host, prefix, spot)),
        }
        match owners.iter().find(|(known, ..)| *known == host) {
            Some((_, first, place)) if *first != owner => {
                let words = |tenant: Option<&Slug>| tenant.map_or("no tenant".to_owned(), Slug::to_string);
                desk.fault(Code::TwoTenantsOnHost, spot, format!("{host} belongs to two tenants"))
                    .label(format!("to {} here", words(owner)))
                    .help("give each tenant hosts of its own: apps on one host can read one another")
                    .also(*place, format!("to {} here", words(*first)));
            }
            Some(_) => {}
            None => owners.push((host, owner, spot)),
        }
    }
}

/// What a rule, or a route without rules, says about who may pass.
struct Said<'r> {
    allow: &'r Maybe<Vec<Written<Who>>>,
    needs: &'r Maybe<Written<Needs>>,
    public: &'r Written<bool>,
    /// Whether it denies or requires something besides.
    asks: bool,
    spot: Spot,
}

/// Reads one route.
struct Reader<'r> {
    raw: &'r raw::Route,
    around: &'r Surroundings<'r>,
    tenant: Option<&'r Slug>,
}

impl Reader<'_> {
    fn route(&self, name: Option<Slug>, desk: &mut Desk<'_>) -> Option<Route> {
        let raw = self.raw;
        if let Some(written) = &raw.tenant.0
            && let Some(slug) = &written.value.0
        {
            self.around.catalogue.check_tenant(slug, written.spot, desk);
        }
        self.check_at(desk);
        let (to, pool) = self.upstreams(desk);
        let rules = self.rules(desk);
        let deny = self.kept_out(&raw.deny, desk);
        let require = self.require(desk);
        let headers = identity(&raw.headers, desk);
        let (request_headers, answer_headers) = self.edits(desk);
        let (connect, request, idle, websocket) = match &raw.timeout.0 {
            Some(timeout) => {
                within(desk, "route.timeout.connect", &timeout.connect, &Span::millis(10), &Span::minutes(5));
                within(desk, "route.timeout.request", &timeout.request, &Span::millis(10), &Span::hours(24));
                within(
                    desk,
                    "route.timeout.websocket",
                    &timeout.websocket,
                    &Span::seconds(1),
                    &Span::hours(24 * 7),
                );
                within(desk, "route.timeout.idle", &timeout.idle, &Span::seconds(1), &Span::hours(24 * 7));
                let (connect, request) = (timeout.connect.value, timeout.request.value);
                (connect, request, timeout.idle.value, timeout.websocket.value)
            }
            None => (Span::seconds(3), Span::seconds(60), Span::minutes(10), Span::hours(1)),
        };
        within(desk, "route.assertion_life", &raw.assertion_life, &Span::seconds(1), &Span::minutes(5));
        let text =
            |label: &Maybe<Written<super::kinds::Label>>| label.0.as_ref().map(|label| label.value.0.clone());
        let name = name?;
        Some(Route {
            source: desk.written(raw),
            title: text(&raw.title).unwrap_or_else(|| name.to_string()),
            name,
            about: text(&raw.about).unwrap_or_default(),
            host: raw.host.value.clone(),
            prefix: raw.path.value.0.clone(),
            to,
            pool,
            forward_auth: raw.forward_auth.value,
            rewrite: raw.rewrite.0.as_ref().map(|to| to.value.0.clone()),
            maintenance: text(&raw.maintenance),
            tenant: self.tenant.cloned(),
            at: raw.at.0.as_ref().map(|at| at.value.clone()),
            rules,
            deny,
            require,
            headers: headers?,
            request_headers,
            answer_headers,
            help: text(&raw.help),
            listed: raw.listed.value,
            explain_refusals: raw.explain_refusals.value,
            unusual: raw.unusual_paths.iter().fold(Unusual::default(), |all, one| all.and(one.value.0)),
            case: raw.case.0.as_ref().map_or(Case::Unknown, |case| case.value.0),
            pass_host: raw.pass_host.value,
            private_answers: raw.private_answers.value,
            websocket: self.websocket(websocket, desk),
            connect_timeout: connect,
            request_timeout: request,
            idle_timeout: idle,
            assertion_life: raw.assertion_life.value,
        })
    }

    /// What changes about the header fields of requests and of answers.
    fn edits(&self, desk: &mut Desk<'_>) -> (Edits, Edits) {
        let (raw, carries) = (self.raw, |folded: &str| self.around.carriers.contains(folded));
        let first = |set: &HeaderLines, remove: &[Written<HeaderName>]| {
            set.0.first().map(|(name, _)| name.spot).or(remove.first().map(|name| name.spot))
        };
        let spot = first(&raw.set_headers, &raw.remove_headers)
            .or(first(&raw.set_answer_headers, &raw.remove_answer_headers));
        if let Some(spot) = spot.filter(|_| raw.forward_auth.value) {
            desk.fault(Code::Contradiction, spot, "a route with `forward_auth` cannot change headers")
                .help("have the proxy that forwards change them")
                .also(raw.forward_auth.spot, "another proxy forwards, says this");
        }
        (
            edits(Direction::Request, &raw.set_headers, &raw.remove_headers, carries, desk),
            edits(Direction::Answer, &raw.set_answer_headers, &raw.remove_answer_headers, carries, desk),
        )
    }

    fn websocket(&self, idle: Span, desk: &mut Desk<'_>) -> Option<WebSocket> {
        if self.raw.websocket.value {
            if self.raw.upstream_protocol.value == Protocol::Http2 {
                desk.fault(
                    Code::Contradiction,
                    self.raw.websocket.spot,
                    "WebSockets cannot be opened over HTTP/2",
                )
                .help(
                    "leave upstream_protocol out, or make a route of its own for the path of the WebSockets",
                )
                .also(self.raw.upstream_protocol.spot, "HTTP/2 here");
            }
            let origins = self.raw.origins.iter().map(|origin| origin.value.0.clone()).collect();
            return Some(WebSocket { origins, idle });
        }
        if let Some(first) = self.raw.origins.first() {
            desk.fault(
                Code::Contradiction,
                first.spot,
                "sites may open WebSockets on a route that passes none on",
            )
            .help("write websocket = true, or leave origins out");
        }
        None
    }

    fn check_at(&self, desk: &mut Desk<'_>) {
        let Some(at) = &self.raw.at.0 else { return };
        match self.tenant {
            Some(tenant) if *tenant == at.value.tenant => {
                self.around.catalogue.check_place(&at.value, at.spot, desk);
            }
            Some(tenant) => {
                desk.fault(
                    Code::OutsideTenant,
                    at.spot,
                    format!("{} is not in the route's tenant", at.value),
                )
                .help(format!("name a place in {tenant}, or another tenant"));
            }
            None => {
                desk.fault(Code::OutsideTenant, at.spot, "a route without tenant has no place")
                    .help(format!("write tenant = \"{}\" as well", at.value.tenant));
            }
        }
    }

    fn upstreams(&self, desk: &mut Desk<'_>) -> (Vec<Upstream>, Pool) {
        let guarded = &self.raw.forward_auth;
        match self.raw.to.first() {
            Some(to) if guarded.value => {
                desk.fault(Code::Contradiction, to.upstream.spot, "a route with `forward_auth` goes nowhere by itself")
                    .help("leave out `to`, where the proxy that asks forwards; or `forward_auth`, where Cardea does")
                    .also(guarded.spot, "another proxy forwards, says this");
            }
            None if !guarded.value && !desk.torn.contains("route") => {
                desk.fault(Code::Missing, self.raw.spot, "`route.to` names no upstream").help(
                    "write to = [\"http://10.0.4.12:8080\"], or forward_auth = true where another proxy forwards",
                );
            }
            _ => {}
        }
        if let Some(rewrite) = self.raw.rewrite.0.as_ref().filter(|_| guarded.value) {
            desk.fault(
                Code::Contradiction,
                rewrite.spot,
                "a route with `forward_auth` cannot rewrite its path",
            )
            .help("leave out `rewrite`: the proxy that forwards must pass on the address that it asked about")
            .also(guarded.spot, "another proxy forwards, says this");
        }
        if guarded.value && !self.around.forward_auth && !desk.torn.contains("server") {
            desk.fault(Code::Missing, guarded.spot, "no other proxy can ask about this route")
                .label("`server.forward_auth_listen` is missing")
                .help("write forward_auth_listen = \"127.0.0.1:8601\" in [server]");
        }
        for To { upstream: to, .. } in &self.raw.to {
            if self.around.listen.iter().any(|own| is_own(&to.value, *own)) {
                desk.fault(Code::OwnAddress, to.spot, format!("{} is where Cardea itself listens", to.value))
                    .help("name the address of the app");
            } else if let Some(why) = unreachable(&to.value) {
                desk.fault(Code::Upstream, to.spot, format!("no request is ever sent to {}", to.value))
                    .label(why)
                    .help("name the address of the app");
            }
        }
        self.together(desk);
        let over_tls = |to: &To| matches!(to.upstream.value.transport, Transport::Tls(_));
        if let Some(raw) = &self.raw.upstream_tls.0
            && !self.raw.to.iter().any(over_tls)
            && !desk.torn.contains("route")
        {
            desk.fault(
                Code::Contradiction,
                raw.spot,
                "the route says how TLS is verified, and no upstream has it",
            )
            .help("write https:// in `to`, or leave upstream_tls out");
        }
        let tls = tls::upstream(self.raw.upstream_tls.0.as_ref(), desk);
        let protocol = self.raw.upstream_protocol.value;
        let spoken = |to: &To| {
            let to = &to.upstream.value;
            let transport = match to.transport {
                Transport::Plain => Transport::Plain,
                Transport::Tls(_) => Transport::Tls(tls.clone()?),
            };
            Some(Upstream { transport, protocol, ..to.clone() })
        };
        let those = |drain: bool| self.raw.to.iter().filter(move |to| to.drain == drain).filter_map(spoken);
        let pool = Pool {
            author: Author::Operator,
            balance: self.raw.balance.value,
            draining: those(true).collect(),
            health: self.health(desk),
        };
        (those(false).collect(), pool)
    }

    /// Weighs the addresses against one another.
    fn together(&self, desk: &mut Desk<'_>) {
        let all = &self.raw.to;
        if let Some(to) = all.get(pool::MOST) {
            desk.fault(Code::OutOfRange, to.upstream.spot, "a route has too many upstreams")
                .help(format!("name at most {}; one name may have several addresses", pool::MOST));
        }
        if let Some(to) = all.first()
            && all.iter().all(|to| to.drain)
        {
            desk.fault(Code::Missing, to.upstream.spot, "every upstream of the route is drained")
                .label("nobody is left whom requests could go to")
                .help("leave one without drain, or write maintenance = \"…\"");
        }
    }

    fn health(&self, desk: &mut Desk<'_>) -> Option<HealthCheck> {
        let health = self.raw.health.0.as_ref()?;
        if self.raw.forward_auth.value {
            desk.fault(Code::Contradiction, health.spot, "a route with `forward_auth` has nobody to ask")
                .help("leave `health` out: the proxy that forwards knows how the app is")
                .also(self.raw.forward_auth.spot, "another proxy forwards, says this");
        }
        within(desk, "route.health.every", &health.every, &Span::millis(100), &Span::hours(1));
        within(desk, "route.health.timeout", &health.timeout, &Span::millis(10), &Span::minutes(1));
        within(desk, "route.health.healthy", &health.healthy, &1, &100);
        within(desk, "route.health.unhealthy", &health.unhealthy, &1, &100);
        for status in &health.status {
            within(desk, "route.health.status", status, &200, &599);
        }
        let statuses = health.status.iter().filter_map(|status| u16::try_from(status.value).ok());
        Some(HealthCheck {
            path: health.path.value.0.clone(),
            every: health.every.value,
            timeout: health.timeout.value,
            healthy: health.healthy.value,
            unhealthy: health.unhealthy.value,
            status: statuses.collect(),
        })
    }

    fn rules(&self, desk: &mut Desk<'_>) -> Vec<Rule> {
        let raw = self.raw;
        let own = raw.allow.0.is_some() || raw.needs.0.is_some() || raw.public.value;
        if raw.rule.is_empty() {
            // A rule that could not be read leaves the route without any: not what the operator wrote.
            if !own && desk.torn.contains("route") {
                return Vec::new();
            }
            let asks = !raw.deny.is_empty() || !raw.require.is_empty();
            let said =
                Said { allow: &raw.allow, needs: &raw.needs, public: &raw.public, asks, spot: raw.spot };
            let access = self.access(said, desk);
            let rule = |access| Rule {
                source: desk.written(raw),
                methods: Vec::new(),
                path: PathPattern::everything(),
                access,
                deny: Vec::new(),
                require: Vec::new(),
            };
            return access.map(rule).into_iter().collect();
        }
        if own {
            let spots = [
                raw.allow.0.as_ref().and_then(|list| list.first()).map(|who| who.spot),
                raw.needs.0.as_ref().map(|needs| needs.spot),
                raw.public.value.then_some(raw.public.spot),
            ];
            let spot = spots.into_iter().flatten().next().unwrap_or(raw.spot);
            let draft =
                desk.fault(Code::RulesAndOwn, spot, "a route has rules, or a policy of its own, not both");
            draft.help("move this into a rule at the end: [[route.rule]] without path covers the rest");
            if let Some(first) = raw.rule.first() {
                draft.also(first.spot, "its first rule");
            }
        }
        let read: Vec<(Option<Rule>, Spot)> =
            raw.rule.iter().map(|rule| (self.rule(rule, desk), rule.spot)).collect();
        self.reach(&read, desk);
        read.into_iter().filter_map(|(rule, _)| rule).collect()
    }

    fn rule(&self, raw: &raw::Rule, desk: &mut Desk<'_>) -> Option<Rule> {
        let asks = !raw.deny.is_empty() || !raw.require.is_empty();
        let said = Said { allow: &raw.allow, needs: &raw.needs, public: &raw.public, asks, spot: raw.spot };
        let access = self.access(said, desk);
        let deny = self.kept_out(&raw.deny, desk);
        let mut methods =
            raw.methods.0.as_ref().map(|list| {
                list.iter().map(|method| (method.value.0.clone(), method.spot)).collect::<Vec<_>>()
            });
        if methods.as_ref().is_some_and(Vec::is_empty) && !desk.torn.contains("route") {
            desk.fault(Code::Methods, raw.spot, "the rule's list of methods is empty")
                .help("leave it out: then any method matches");
        }
        let mut require = Vec::new();
        for how in &raw.require {
            match &how.value {
                How::Method(words) => {
                    if let Some((_, first)) = methods.as_ref().and_then(|known| known.first()) {
                        desk.fault(Code::Methods, how.spot, "the rule's methods are said twice")
                            .help("write all of them in methods = […]")
                            .also(*first, "first here");
                    }
                    methods = Some(words.iter().map(|word| (word.clone(), how.spot)).collect());
                }
                _ => require.extend(self.how(how, desk)),
            }
        }
        Some(Rule {
            source: desk.written(raw),
            methods: methods.unwrap_or_default().into_iter().map(|(word, _)| word).collect(),
            path: raw.path.value.clone(),
            access: access?,
            deny,
            require,
        })
    }

    /// Notes rules that no request can come to.
    fn reach(&self, rules: &[(Option<Rule>, Spot)], desk: &mut Desk<'_>) {
        let prefix = self.raw.path.value.0.as_str();
        for (at, (rule, spot)) in rules.iter().enumerate() {
            let Some(rule) = rule else { continue };
            let number = at + 1;
            let earlier = rules.iter().take(at).enumerate().find_map(|(at, (other, place))| {
                other.as_ref().filter(|other| covers(other, rule)).map(|other| (at + 1, other, *place))
            });
            if let Some((first, other, place)) = earlier {
                let methods = if other.methods.is_empty() {
                    "all methods".to_owned()
                } else {
                    other.methods.join(", ")
                };
                desk.fault(Code::NeverMatches, *spot, "rule can never match")
                    .label(format!(
                        "rule {number} is covered by rule {first} (path {}, {methods})",
                        other.path
                    ))
                    .help("remove it, or move it before the other")
                    .also(place, format!("rule {first}"));
            } else if !meets(&rule.path, prefix) {
                desk.fault(Code::NeverMatches, *spot, "rule can never match")
                    .label(format!("rule {number} is about {}, the route about {prefix}", rule.path))
                    .help("write the whole path, with that of the route");
            } else if RESERVED.iter().any(|reserved| under(&rule.path.text, reserved)) {
                desk.fault(Code::NeverMatches, *spot, "rule can never match")
                    .label(format!("Cardea answers {} itself", rule.path))
                    .help("remove it");
            }
        }
    }

    fn access(
        &self,
        Said { allow, needs, public, asks, spot }: Said<'_>,
        desk: &mut Desk<'_>,
    ) -> Option<Access> {
        let who = allow.0.as_ref().map(|list| self.who(list, desk));
        if let Some(needs) = &needs.0 {
            self.check_needs(needs, desk);
        }
        let needs = needs.0.as_ref().map(|needs| needs.value.clone());
        if public.value {
            if allow.0.is_some() || needs.is_some() || asks {
                desk.fault(
                    Code::PublicAndWho,
                    public.spot,
                    "what is public is open before anything else is asked",
                )
                .help("leave out public, or allow, needs, deny and require");
            }
            return Some(Access::Public);
        }
        match (who, needs) {
            (None, None) if !desk.torn.contains("route") => {
                desk.fault(Code::NoWho, spot, "this lets nobody in")
                    .help("write allow = [\"signed-in\"], needs = \"resource:action\" or public = true");
                None
            }
            (Some(list), _) if list.is_empty() && !desk.torn.contains("route") => {
                desk.fault(Code::NoWho, spot, "`allow` is empty: it lets nobody in")
                    .help("name somebody, or leave it out where `needs` decides alone");
                None
            }
            (who, needs) => Some(Access::Members { allow: who.unwrap_or_default(), needs }),
        }
    }

    /// Looks everybody up that a list names.
    fn who(&self, list: &[Written<Who>], desk: &mut Desk<'_>) -> Vec<Who> {
        let names = self.around.catalogue;
        for written in list {
            let spot = written.spot;
            match (&written.value, self.tenant) {
                (Who::Group { tenant: None, name }, None) => {
                    self.unqualified(spot, &format!("group:TENANT/{name}"), desk);
                }
                (Who::Role { slug, at: None }, None) => {
                    self.unqualified(spot, &format!("role:{slug}@TENANT"), desk);
                }
                (Who::Group { tenant: None, name }, Some(tenant)) => {
                    names.check_group(tenant, name, spot, desk);
                }
                (Who::Role { slug, at: None }, Some(tenant)) => names.check_role(tenant, slug, spot, desk),
                (Who::Group { tenant: Some(tenant), name }, _) => {
                    if names.check_tenant(tenant, spot, desk) {
                        names.check_group(tenant, name, spot, desk);
                    }
                }
                (Who::Role { slug, at: Some(at) }, _) => {
                    names.check_place(at, spot, desk);
                    names.check_role(&at.tenant, slug, spot, desk);
                }
                (Who::Tenant(slug), _) => {
                    names.check_tenant(slug, spot, desk);
                }
                (Who::Org(place) | Who::Department(place), _) => names.check_place(place, spot, desk),
                (Who::Provider(name), _) => names.check_provider(name, spot, desk),
                (Who::Domain(_) | Who::SignedIn | Who::User(_), _) => {}
            }
        }
        list.iter().map(|written| written.value.clone()).collect()
    }

    /// Looks everybody up whom a list keeps out. What nothing has the name of keeps everybody out, and the warning says so;
    /// groups apart, which are compared by name.
    fn kept_out(&self, list: &[Written<Who>], desk: &mut Desk<'_>) -> Vec<Who> {
        let mut all = Vec::new();
        for written in list {
            let before = desk.count();
            all.extend(self.who(std::slice::from_ref(written), desk));
            if !matches!(written.value, Who::Group { .. }) {
                desk.since(before, Code::UnknownName).for_each(|fault| {
                    fault.adds("while the records have none either, this keeps everybody out");
                });
            }
        }
        all
    }

    /// Looks a permission up.
    fn check_needs(&self, needs: &Written<Needs>, desk: &mut Desk<'_>) {
        let permission = &needs.value.permission;
        let tenant = match (&needs.value.at, self.tenant) {
            (Some(at), _) => {
                self.around.catalogue.check_place(at, needs.spot, desk);
                &at.tenant
            }
            (None, Some(tenant)) => tenant,
            (None, None) => {
                self.unqualified(needs.spot, &format!("{permission}@TENANT"), desk);
                return;
            }
        };
        self.around.catalogue.check_permission(tenant, permission, needs.spot, desk);
    }

    fn unqualified(&self, spot: Spot, form: &str, desk: &mut Desk<'_>) {
        let tenants = &self.around.catalogue.tenants;
        let example = tenants.first().map_or("TENANT", |tenant| tenant.slug.as_str());
        desk.fault(Code::Unqualified, spot, "the route has no tenant, so this must name one")
            .help(format!("write \"{}\", or give the route a tenant", form.replace("TENANT", example)));
    }

    fn require(&self, desk: &mut Desk<'_>) -> Vec<How> {
        let mut all = Vec::new();
        for how in &self.raw.require {
            if let How::Method(words) = &how.value {
                desk.fault(Code::Methods, how.spot, "methods cannot be required of a whole route").help(
                    format!("write a rule: [[route.rule]] with methods = [\"{}\"]", words.join("\", \"")),
                );
            } else {
                all.extend(self.how(how, desk));
            }
        }
        all
    }

    fn how(&self, how: &Written<How>, desk: &mut Desk<'_>) -> Option<How> {
        if let How::Net(name) = &how.value
            && !self.around.networks.contains_key(name)
            && !desk.torn.contains("networks")
        {
            let help = match nearest(name.as_str(), self.around.networks.keys().map(Slug::as_str)) {
                Some(near) => format!("did you mean \"net:{near}\"?"),
                None => format!("define it: [networks] with {name} = [\"203.0.113.0/24\"]"),
            };
            desk.fault(Code::UnknownNetwork, how.spot, format!("there is no network \"{name}\"")).help(help);
            return None;
        }
        Some(how.value.clone())
    }
}

/// Why no request is ever sent to an upstream, where its address says so itself. Names are judged when they are looked up.
fn unreachable(to: &Upstream) -> Option<&'static str> {
    let ip = to.host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    admitted(ip, Wrote::Address, Author::Operator).err()
}

/// Whether an upstream is one of our own listeners.
fn is_own(to: &Upstream, own: SocketAddr) -> bool {
    let host = to.host.trim_start_matches('[').trim_end_matches(']');
    let ip =
        if host == "localhost" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { host.parse::<IpAddr>().ok() };
    own.port() != 0
        && to.port == own.port()
        && ip.is_some_and(|ip| {
            ip == own.ip() || ip.is_unspecified() || (own.ip().is_unspecified() && ip.is_loopback())
        })
}

/// Whether a path lies at or below another.
fn under(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a pattern can match anything that a route with this prefix receives.
fn meets(path: &PathPattern, prefix: &str) -> bool {
    under(&path.text, prefix) || (path.open && under(prefix, &path.text))
}

/// Whether every request that comes to `later` came to `earlier` before.
fn covers(earlier: &Rule, later: &Rule) -> bool {
    let methods = earlier.methods.is_empty()
        || (!later.methods.is_empty() && later.methods.iter().all(|method| earlier.methods.contains(method)));
    let path = if earlier.path.open {
        under(&later.path.text, &earlier.path.text)
    } else {
        earlier.path == later.path
    };
    methods && path
}
