//! Processes on a core of their own, and what the kernel says of them.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// Clock ticks in a second: what the kernel tells programs, whatever its own clock does.
const TICKS: f64 = 100.0;

/// Where what is measured runs.
pub(crate) const TARGET_CORE: &str = "0";
/// Where what asks and what answers run.
pub(crate) const LOAD_CORE: &str = "1";

/// Seconds of processor time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) kernel: f64,
}

impl Cpu {
    pub(crate) fn total(self) -> f64 {
        self.user + self.kernel
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, kernel: self.kernel - before.kernel }
    }
}

/// A process that ends with us.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program on a core, or wherever the kernel likes. What it says goes to a file.
    pub(crate) fn start(
        name: &str,
        core: Option<&str>,
        program: &Path,
        arguments: &[&str],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let said = File::create(log)?;
        // Ends also when this process is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]);
        if let Some(core) = core {
            command.args(["taskset", "-c", core]);
        }
        command.arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).env_remove("ADMIN_USER");
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it takes connections.
    pub(crate) fn wait_for(&mut self, address: SocketAddr) -> anyhow::Result<Duration> {
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once, {status}: {}", self.name, fs::read_to_string(&self.log)?);
            }
            ensure!(began.elapsed() < Duration::from_mins(1), "{} does not listen at {address}", self.name);
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(began.elapsed())
    }

    /// What it and all that it started have used.
    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        tree(self.id())?.iter().try_fold(Cpu::default(), |sum, id| {
            let one = Stat::of(&id.to_string())?;
            Ok(Cpu { user: sum.user + one.cpu.user, kernel: sum.kernel + one.cpu.kernel })
        })
    }

    /// Resident memory of it and of all that it started, in KiB.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        tree(self.id())?.iter().try_fold(0.0, |sum, id| {
            let status = fs::read_to_string(format!("/proc/{id}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let text = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0");
            Ok(sum + text.parse::<f64>()?)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // By the shell: the standard library knows only the signal that nobody can tidy up after.
        let kill = format!("kill -TERM {}", self.id());
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands in `/proc/PID/stat`.
struct Stat {
    parent: u32,
    cpu: Cpu,
    children: Cpu,
}

impl Stat {
    fn of(id: &str) -> anyhow::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name before it, in brackets, may hold anything.
        let rest = text.rsplit_once(')').context("no name in stat")?.1;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let seconds = |at: usize| -> anyhow::Result<f64> {
            Ok(fields.get(at).context("stat is short")?.parse::<f64>()? / TICKS)
        };
        Ok(Self {
            parent: fields.get(1).context("stat is short")?.parse()?,
            cpu: Cpu { user: seconds(11)?, kernel: seconds(12)? },
            children: Cpu { user: seconds(13)?, kernel: seconds(14)? },
        })
    }
}

/// A process and all below it.
fn tree(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended in the meantime.
        if let Ok(stat) = Stat::of(&id.to_string()) {
            all.push((id, stat.parent));
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        at += 1;
    }
    Ok(found)
}

/// What this process has used, with those of its children that have ended.
pub(crate) fn own_cpu() -> anyhow::Result<f64> {
    let own = Stat::of("self")?;
    Ok(own.cpu.total() + own.children.total())
}

/// What all cores together have done, in seconds; what the host took away from us counts as done.
pub(crate) fn busy() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("no /proc/stat")?;
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let sum: f64 =
        ticks.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks).sum();
    Ok(sum / TICKS)
}

/// What kind of machine this is, for the head of the table.
pub(crate) fn words() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("unknown processor", |(_, name)| name);
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    format!("{cores} cores ({model}), kernel {}", read("/proc/sys/kernel/osrelease").trim())
}
