//! `make bench`: the same work for nginx, which only passes requests on, for Apache, which authenticates, and for Cardea,
//! which signs people in, decides and vouches for them. In one run, in turns, each on the same core; what asks and what
//! answers are on another. `docs/performance.md` says how to read what comes out.
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement asks the machine for the time, for the environment and for chance"
)]

mod browser;
mod load;
mod machine;
mod peers;
mod product;
mod provider;
mod table;
mod upstream;
mod warm;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use cardea::domain::Chance;
use cardea::sys::OsChance;

use load::{Load, Seen, Wrk};
use machine::{LOAD_CORE, Process, TARGET_CORE};
use product::{Site, VARIANTS};
use table::{Round, Row, table};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|text| text != "--bench").collect();
    // Parts of it that run as processes of their own, on their own core.
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["upstream", address] => return upstream::run(address.parse()?),
        ["warm", address, path, lines] => {
            let count = warm::run(address.parse()?, path, Path::new(lines))?;
            return Ok(writeln!(std::io::stdout(), "{count}")?);
        }
        _ => {}
    }
    let full = match std::env::var("BENCH").as_deref() {
        Ok("full") => true,
        Ok("" | "quick") | Err(_) => false,
        Ok(other) => bail!("BENCH is full or quick, not {other}"),
    };
    // More threads than one: Apache asks the provider while we ask Apache.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let bench = Bench {
        wrk: Wrk::new(folder.path())?,
        folder: folder.path(),
        runtime: &runtime,
        full,
        wanted: arguments,
    };
    let report = bench.run()?;
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench.md");
    fs::write(&file, report)?;
    say(&format!("the same is in {}", file.display()));
    Ok(())
}

/// What goes on, for whoever waits; the tables alone go to the output.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "-- {text}");
}

/// Bytes of chance.
fn chance<const N: usize>() -> [u8; N] {
    let machine: &dyn Chance = &OsChance;
    machine.bytes()
}

/// A free address.
fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// One request and its whole answer.
fn talk(address: SocketAddr, host: &str, path: &str, cookie: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n")?;
    let mut answer = Vec::new();
    read_answer(&mut stream, &mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Reads one answer that says how long it is.
fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    answer.clear();
    let mut buffer = [0; 16 * 1024];
    loop {
        if warm::whole(answer)? {
            return Ok(());
        }
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the connection was closed");
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
}

/// What is measured.
struct Target {
    name: String,
    process: Process,
    address: SocketAddr,
    /// One session, of a sign-in over HTTP.
    one: PathBuf,
    /// Many sessions.
    many: PathBuf,
    /// What it must tell the upstream, in small letters; what that must not hear.
    tells: &'static [&'static str],
    hides: &'static [&'static str],
    /// Whether it keeps the sessions, so that each must be used once before it is measured.
    keeps: bool,
}

/// Whose requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sessions {
    One,
    Many,
}

/// Where.
#[derive(Clone, Copy, PartialEq, Eq)]
enum World {
    /// One host.
    One,
    /// A thousand, each with a route.
    Many,
    /// One, with TLS in front.
    Tls,
}

/// One table.
#[derive(Clone, Copy)]
struct Cell {
    id: &'static str,
    title: &'static str,
    path: &'static str,
    connections: usize,
    sessions: Sessions,
    world: World,
    /// Only in the full run.
    full: bool,
    /// With the peer that authenticates.
    apache: bool,
}

const CELL: Cell = Cell {
    id: "",
    title: "",
    path: "/1k",
    connections: 64,
    sessions: Sessions::Many,
    world: World::One,
    full: false,
    apache: false,
};

const CELLS: &[Cell] = &[
    Cell {
        id: "light",
        title: "1 KiB, 64 connections, light upstream, a random session of 100,000",
        apache: true,
        ..CELL
    },
    Cell {
        id: "nginx-upstream",
        title: "1 KiB, 64 connections, nginx as upstream, a random session of 100,000",
        path: "/n/1k",
        ..CELL
    },
    Cell {
        id: "64k",
        title: "64 KiB, 64 connections, light upstream, a random session of 100,000",
        path: "/64k",
        ..CELL
    },
    Cell {
        id: "one-session",
        title: "1 KiB, 64 connections, light upstream, one session",
        sessions: Sessions::One,
        ..CELL
    },
    Cell {
        id: "c1",
        title: "1 KiB, 1 connection, light upstream, one session",
        connections: 1,
        sessions: Sessions::One,
        apache: true,
        ..CELL
    },
    Cell {
        id: "c256",
        title: "1 KiB, 256 connections, light upstream, one session",
        connections: 256,
        sessions: Sessions::One,
        ..CELL
    },
    Cell {
        id: "routes",
        title: "1 KiB, 64 connections, light upstream, a random one of 1,000 hosts, each with a route and a session",
        world: World::Many,
        ..CELL
    },
    Cell {
        id: "tls",
        title: "1 KiB, 64 connections under TLS, light upstream, one session",
        sessions: Sessions::One,
        world: World::Tls,
        ..CELL
    },
    Cell {
        id: "tls-64k",
        title: "64 KiB, 64 connections under TLS, light upstream, one session",
        path: "/64k",
        sessions: Sessions::One,
        world: World::Tls,
        ..CELL
    },
    Cell {
        id: "64k-nginx-upstream",
        title: "64 KiB, 64 connections, nginx as upstream, a random session of 100,000",
        path: "/n/64k",
        full: true,
        ..CELL
    },
    Cell {
        id: "c256-sessions",
        title: "1 KiB, 256 connections, light upstream, a random session of 100,000",
        connections: 256,
        full: true,
        ..CELL
    },
    Cell {
        id: "c1-nginx-upstream",
        title: "1 KiB, 1 connection, nginx as upstream, one session",
        path: "/n/1k",
        connections: 1,
        sessions: Sessions::One,
        full: true,
        ..CELL
    },
];

/// How many sessions there are where there are many.
const MANY: usize = 100_000;
/// How many hosts there are where there are many.
const HOSTS: usize = 1000;
/// How many connections stay idle.
const IDLE: usize = 900;

struct Bench<'a> {
    folder: &'a Path,
    runtime: &'a tokio::runtime::Runtime,
    wrk: Wrk,
    full: bool,
    /// The tables that were asked for by name; all when none was.
    wanted: Vec<String>,
}

/// The upstreams.
struct Upstreams {
    light: Process,
    light_at: SocketAddr,
    heavy: Process,
    heavy_at: SocketAddr,
}

impl Bench<'_> {
    fn run(&self) -> anyhow::Result<String> {
        let mut report = format!(
            "Measured on {}; {} rounds of {} s a cell, in turns. nginx 1.00 is the first row.\n",
            machine::words(),
            self.rounds(),
            self.seconds()
        );
        let _ = std::io::stdout().write_all(report.as_bytes());
        let upstreams = self.upstreams()?;
        let one: Vec<Cell> = self.cells(World::One);
        if !one.is_empty() || self.wants("idle") || self.wants("storm") {
            let targets = self.world("one", 1, MANY, &upstreams)?;
            // First of all: what earlier connections gave back would hide what new ones take.
            if self.wants("idle") {
                add(&mut report, &idle_memory(&targets)?);
            }
            for cell in &one {
                self.cell(&mut report, cell, &targets, &upstreams)?;
            }
            drop(targets);
            if self.wants("storm") {
                let text = self.storm(&upstreams)?;
                add(&mut report, &text);
            }
        }
        let many = self.cells(World::Many);
        if !many.is_empty() {
            let targets = self.world("many", HOSTS, HOSTS, &upstreams)?;
            for cell in &many {
                self.cell(&mut report, cell, &targets, &upstreams)?;
            }
        }
        let tls = self.cells(World::Tls);
        if !tls.is_empty() {
            let targets = self.tls_world(&upstreams)?;
            for cell in &tls {
                self.cell(&mut report, cell, &targets, &upstreams)?;
            }
        }
        if self.wants("start") {
            let text = self.start_up(&upstreams)?;
            add(&mut report, &text);
        }
        Ok(report)
    }

    const fn rounds(&self) -> usize {
        if self.full { 5 } else { 3 }
    }

    const fn seconds(&self) -> u64 {
        if self.full { 7 } else { 4 }
    }

    fn wants(&self, id: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == id)
    }

    fn cells(&self, world: World) -> Vec<Cell> {
        let due = |cell: &&Cell| {
            cell.world == world && self.wants(cell.id) && (self.full || !cell.full || !self.wanted.is_empty())
        };
        CELLS.iter().filter(due).copied().collect()
    }

    fn upstreams(&self) -> anyhow::Result<Upstreams> {
        let (light_at, heavy_at) = (free()?, free()?);
        let program = std::env::current_exe()?;
        let arguments = ["upstream", &light_at.to_string()];
        let log = self.folder.join("upstream.log");
        let mut light = Process::start("the light upstream", Some(LOAD_CORE), &program, &arguments, &log)?;
        light.wait_for(light_at)?;
        let heavy = peers::nginx_upstream(&self.folder.join("upstream"), heavy_at)?;
        Ok(Upstreams { light, light_at, heavy, heavy_at })
    }

    /// Everything that is measured, running: so many hosts, and so many sessions.
    fn world(
        &self,
        name: &str,
        hosts: usize,
        sessions: usize,
        upstreams: &Upstreams,
    ) -> anyhow::Result<Vec<Target>> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        let (light, heavy) = (upstreams.light_at, upstreams.heavy_at);
        let (one, many) = (folder.join("one"), folder.join("many"));
        let (port, ops) = (free()?.port(), free()?.port());
        let mut cardeas = Vec::new();
        let folders: Vec<PathBuf> =
            (0..VARIANTS.len()).map(|number| folder.join(format!("cardea-{number}"))).collect();
        let site = |number: usize, folder| {
            let address = product::loopback(number);
            let (listen, ops) = (SocketAddr::new(address, port), SocketAddr::new(address, ops));
            Site { folder, listen, ops, hosts, light, heavy, tls: None }
        };
        for (number, variant) in VARIANTS.iter().enumerate() {
            let site = site(number, folders.get(number).context("no folder")?);
            site.write(variant)?;
            product::check(&site)?;
            match cardeas.first() {
                None => {
                    say(&format!("{} people are brought in", product::PEOPLE));
                    site.import_people()?;
                    say(&format!("{sessions} sessions are written"));
                    fs::write(&many, self.runtime.block_on(site.add_sessions(sessions))?)?;
                }
                Some(first) => site.copy_from(first)?,
            }
            cardeas.push(site);
        }
        let mut targets = Vec::new();
        let listen = free()?;
        targets.push(Target {
            name: "nginx plain".to_owned(),
            process: peers::nginx(&folder.join("nginx"), listen, hosts, light, heavy, None)?,
            address: listen,
            one: one.clone(),
            many: many.clone(),
            tells: &[],
            hides: &[],
            keeps: false,
        });
        for (number, (site, variant)) in cardeas.iter().zip(VARIANTS).enumerate() {
            let (process, _) = site.serve(Some(TARGET_CORE))?;
            let own = folder.join(format!("one-{number}"));
            fs::write(&own, self.runtime.block_on(site.sign_in(product::VISITOR))?)?;
            if number == 0 {
                fs::copy(&own, &one)?;
            }
            targets.push(Target {
                name: variant.name.to_owned(),
                process,
                address: site.listen,
                one: own,
                many: many.clone(),
                tells: &[
                    "cardea-user:",
                    "cardea-username: u1000\r\n",
                    "cardea-email: u1000@acme.example\r\n",
                    "cardea-groups: staff\r\n",
                    "cardea-tenant: acme\r\n",
                    "cardea-assertion: ey",
                ],
                hides: &["cardea="],
                keeps: true,
            });
        }
        // One is enough to know how much dearer it is.
        if hosts == 1 {
            targets.push(self.apache(&folder, light)?);
        }
        for target in &targets {
            probe(target)?;
        }
        Ok(targets)
    }

    /// nginx and Cardea, each with one host, one certificate and one session.
    fn tls_world(&self, upstreams: &Upstreams) -> anyhow::Result<Vec<Target>> {
        let folder = self.folder.join("tls");
        fs::create_dir_all(&folder)?;
        let (light, heavy) = (upstreams.light_at, upstreams.heavy_at);
        let (cert, key) = (folder.join("front.pem"), folder.join("front.key"));
        let names = vec!["*.bench.localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        fs::write(&cert, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let tls = Some((cert.as_path(), key.as_path()));
        let own = folder.join("cardea");
        let site = Site { folder: &own, listen: free()?, ops: free()?, hosts: 1, light, heavy, tls };
        let [variant, ..] = VARIANTS else { bail!("there is nothing to measure") };
        site.write(variant)?;
        product::check(&site)?;
        site.import_people()?;
        let one = folder.join("one");
        fs::write(&one, self.runtime.block_on(site.add_sessions(1))?)?;
        let (process, _) = site.serve(Some(TARGET_CORE))?;
        let target = |name: &str, process, address| Target {
            name: name.to_owned(),
            process,
            address,
            one: one.clone(),
            many: one.clone(),
            tells: &[],
            hides: &[],
            keeps: false,
        };
        let listen = free()?;
        let nginx = peers::nginx(&folder.join("nginx"), listen, 1, light, heavy, tls)?;
        Ok(vec![target("nginx plain", nginx, listen), target(variant.name, process, site.listen)])
    }

    fn apache(&self, folder: &Path, light: SocketAddr) -> anyhow::Result<Target> {
        let (listen, one) = (free()?, folder.join("one-apache"));
        let listener = self.runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let provider = listener.local_addr()?;
        self.runtime.block_on(async { provider::start(listener) })?;
        let process = peers::apache(&folder.join("apache"), listen, light, provider)?;
        let app = format!("http://{listen}/1k");
        let line = self.runtime.block_on(async {
            let mut browser = browser::Browser::at(listen.ip())?;
            browser.open(&app).await?;
            ensure!(browser.body.starts_with("xxxx"), "Apache lets nobody in: {}", browser.body);
            anyhow::Ok(format!("{listen} {}\n", browser.cookies(&app)?))
        })?;
        fs::write(&one, line)?;
        Ok(Target {
            name: "Apache, mod_auth_openidc".to_owned(),
            process,
            address: listen,
            many: one.clone(),
            one,
            tells: &["oidc_claim_sub: u1000\r\n"],
            hides: &[],
            keeps: false,
        })
    }

    fn cell(
        &self,
        report: &mut String,
        cell: &Cell,
        targets: &[Target],
        upstreams: &Upstreams,
    ) -> anyhow::Result<()> {
        let due: Vec<&Target> =
            targets.iter().filter(|target| cell.apache || !target.name.starts_with("Apache")).collect();
        say(cell.title);
        let mut rows: Vec<Row> = Vec::new();
        rows.extend(due.iter().map(|target| Row { target: target.name.clone(), rounds: Vec::new() }));
        for _ in 0..self.rounds() {
            for at in shuffled(due.len()) {
                let (Some(target), Some(row)) = (due.get(at), rows.get_mut(at)) else { continue };
                let round = self.round(cell, target, upstreams);
                row.rounds.push(round.with_context(|| target.name.clone())?);
            }
        }
        add(report, &table(cell.title, &rows));
        Ok(())
    }

    fn round(&self, cell: &Cell, target: &Target, upstreams: &Upstreams) -> anyhow::Result<Round> {
        let many = cell.sessions == Sessions::Many;
        let lines = if many { &target.many } else { &target.one };
        if many && target.keeps {
            let path = if cell.path.starts_with("/n/") { "/n/1k" } else { "/1k" };
            let (began, cpu) = (Instant::now(), target.process.cpu()?);
            let count = warm::all(target.address, path, lines)?;
            let cpu = target.process.cpu()?.since(cpu).total();
            say(&format!(
                "{}: {count} sessions used once, {:.1} s, {:.0} µs of CPU each",
                target.name,
                began.elapsed().as_secs_f64(),
                cpu * 1e6 / count
            ));
        }
        let load = Load {
            scheme: if cell.world == World::Tls { "https" } else { "http" },
            address: target.address,
            path: cell.path,
            connections: cell.connections,
            lines,
            pause: 0,
            seconds: self.seconds(),
            seed: u32::from_le_bytes(chance()),
        };
        let (count, cpu, others) = (served(upstreams)?, target.process.cpu()?, others(target, upstreams)?);
        let began = Instant::now();
        let seen = self.wrk.run(&load)?;
        let wall = began.elapsed().as_secs_f64();
        let round = Round {
            seen,
            cpu: target.process.cpu()?.since(cpu),
            wall,
            others: ((self::others(target, upstreams)? - others) / wall).max(0.0),
        };
        if !cell.path.starts_with("/n/") {
            let count = served(upstreams)? - count;
            ensure!(count >= seen.requests, "{} answers, but the upstream gave {count}", seen.requests);
        }
        Ok(round)
    }

    /// People sign in as fast as the machine hashes, while others use an app.
    fn storm(&self, upstreams: &Upstreams) -> anyhow::Result<String> {
        say("a storm of sign-ins");
        let folder = self.folder.join("storm");
        let listen = free()?;
        let site = Site {
            folder: &folder,
            listen,
            ops: free()?,
            hosts: 1,
            light: upstreams.light_at,
            heavy: upstreams.heavy_at,
            tls: None,
        };
        let mut text = String::from(
            "\n### A storm of sign-ins beside proxied requests\n\n\
             Every core may hash; 16 connections ask at intervals of 5 ms. Eight people at a time sign in, from the app to the portal and back.\n\n\
             | target | sign-ins/s | requests/s | p50 ms | p99 ms | p99 before | × before |\n|---|---|---|---|---|---|---|\n",
        );
        for variant in VARIANTS {
            let _ = fs::remove_dir_all(&folder);
            site.write(variant)?;
            site.import_people()?;
            let (_process, _) = site.serve(None)?;
            let line = folder.join("one");
            fs::write(&line, self.runtime.block_on(site.sign_in(product::VISITOR))?)?;
            let load = |seconds| Load {
                scheme: "http",
                address: listen,
                path: "/1k",
                connections: 16,
                lines: &line,
                pause: 5,
                seconds,
                seed: 1,
            };
            let seconds = 2 * self.seconds();
            let before = self.wrk.run(&load(seconds))?;
            let (during, rate) = self.runtime.block_on(storming(&site, || self.wrk.run(&load(seconds))))?;
            writeln!(
                text,
                "| {} | {rate:.1} | {:.0} | {:.2} | {:.2} | {:.2} | **{:.1}** |",
                variant.name,
                during.per_second,
                during.p50,
                during.p99,
                before.p99,
                during.p99 / before.p99
            )?;
        }
        Ok(text)
    }

    fn start_up(&self, upstreams: &Upstreams) -> anyhow::Result<String> {
        say("starting on an empty database");
        let mut text = String::from(
            "\n### Starting on an empty database\n\n| target | until ready, ms, median of 5 | resident, MiB |\n|---|---|---|\n",
        );
        for (which, variant) in VARIANTS.iter().enumerate() {
            let (mut times, mut resident) = (Vec::new(), Vec::new());
            for number in 0..5 {
                let folder = self.folder.join(format!("empty-{which}-{number}"));
                let site = Site {
                    folder: &folder,
                    listen: free()?,
                    ops: free()?,
                    hosts: 1,
                    light: upstreams.light_at,
                    heavy: upstreams.heavy_at,
                    tls: None,
                };
                site.write(variant)?;
                let (process, took) = site.serve(None)?;
                times.push(took.as_secs_f64() * 1e3);
                std::thread::sleep(Duration::from_millis(500));
                resident.push(process.resident()? / 1024.0);
            }
            writeln!(
                text,
                "| {} | {:.0} | {:.1} |",
                variant.name,
                table::middle(times),
                table::middle(resident)
            )?;
        }
        Ok(text)
    }
}

/// What reaches the upstream is what should, and a stranger does not come through where somebody is asked for.
fn probe(target: &Target) -> anyhow::Result<()> {
    let line = fs::read_to_string(&target.one)?;
    let (host, cookie) = line.trim_end().split_once(' ').context("no line")?;
    let heard = talk(target.address, host, "/probe", cookie)?.to_ascii_lowercase();
    let heard = heard.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    ensure!(heard.starts_with("get /probe "), "{}: the upstream was not reached: {heard}", target.name);
    for wanted in target.tells {
        ensure!(heard.contains(wanted), "{}: the upstream does not hear {wanted}: {heard}", target.name);
    }
    for unwanted in target.hides {
        ensure!(!heard.contains(unwanted), "{}: the upstream hears {unwanted}: {heard}", target.name);
    }
    if !target.tells.is_empty() {
        let answer = talk(target.address, host, "/probe", "")?;
        ensure!(!answer.starts_with("HTTP/1.1 200"), "{}: a stranger comes through", target.name);
    }
    Ok(())
}

/// Shows a table at once, and keeps it.
fn add(report: &mut String, text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
    report.push_str(text);
}

/// How many requests the light upstream has answered.
fn served(upstreams: &Upstreams) -> anyhow::Result<f64> {
    let answer = talk(upstreams.light_at, "bench", "/count", "")?;
    Ok(answer.rsplit("\r\n").next().unwrap_or_default().parse()?)
}

/// Seconds of processor time that went to nobody of ours.
fn others(target: &Target, upstreams: &Upstreams) -> anyhow::Result<f64> {
    let ours = target.process.cpu()?.total()
        + upstreams.light.cpu()?.total()
        + upstreams.heavy.cpu()?.total()
        + machine::own_cpu()?;
    Ok(machine::busy()? - ours)
}

/// What each connection costs that only waits.
fn idle_memory(targets: &[Target]) -> anyhow::Result<String> {
    say("idle connections");
    let mut text = format!(
        "\n### {IDLE} idle connections, after one request each\n\n| target | KiB a connection | resident before, MiB |\n|---|---|---|\n"
    );
    for target in targets {
        let line = fs::read_to_string(&target.one)?;
        let (host, cookie) = line.trim_end().split_once(' ').context("no line")?;
        let mut buffer = Vec::new();
        let mut open = || -> anyhow::Result<TcpStream> {
            let mut stream = TcpStream::connect(target.address)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            write!(stream, "GET /1k HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n")?;
            read_answer(&mut stream, &mut buffer)?;
            ensure!(buffer.starts_with(b"HTTP/1.1 200"), "{}: not let in", target.name);
            Ok(stream)
        };
        // What is set up once is not the price of a connection.
        for _ in 0..20 {
            open()?;
        }
        let before = target.process.resident()?;
        let connections: Vec<TcpStream> = (0..IDLE).map(|_| open()).collect::<anyhow::Result<_>>()?;
        let after = target.process.resident()?;
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let each = (after - before) / connections.len() as f64;
        writeln!(text, "| {} | {each:.1} | {:.1} |", target.name, before / 1024.0)?;
    }
    Ok(text)
}

/// Signs people in, eight at a time, for as long as `meanwhile` takes; how many a second.
async fn storming(
    site: &Site<'_>,
    meanwhile: impl FnOnce() -> anyhow::Result<Seen>,
) -> anyhow::Result<(Seen, f64)> {
    let (stop, done, next) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(1)));
    let folder = site.folder.to_owned();
    let mut people = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (stop, done, next) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&next));
        let (folder, site) = (folder.clone(), (site.listen, site.ops, site.light, site.heavy));
        people.spawn(async move {
            let (listen, ops, light, heavy) = site;
            let site = Site { folder: &folder, listen, ops, hosts: 1, light, heavy, tls: None };
            while !stop.load(Ordering::Relaxed) {
                site.sign_in(next.fetch_add(1, Ordering::Relaxed) % product::PEOPLE).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    let began = Instant::now();
    let seen = tokio::task::block_in_place(meanwhile);
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let rate = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = people.join_next().await {
        ended??;
    }
    Ok((seen?, rate))
}

/// The numbers below `count` in an order of chance.
fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<([u8; 8], usize)> = (0..count).map(|number| (chance(), number)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, number)| number).collect()
}
