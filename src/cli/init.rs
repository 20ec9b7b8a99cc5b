//! `cardea init`: a first configuration and a master key, written once and never over anything.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::{self, Answers, FirstRoute};
use crate::domain::Chance;
use crate::sys::OsChance;

use super::args::Init;
use super::{Shell, Stop, output, prompt};

/// The name of the key's file, beside the configuration.
const KEY: &str = "master.key";

pub(super) fn run(shell: &Shell, wanted: Init) -> Result<u8, Stop> {
    let file =
        wanted.file.clone().or_else(|| shell.options.file.clone()).unwrap_or_else(|| "cardea.toml".into());
    let key = file.with_file_name(KEY);
    for path in [&file, &key] {
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(Stop::refused(format!("{} is there already; nothing was written", path.display())));
        }
    }
    let answers = answers(wanted)?;
    let chance: &dyn Chance = &OsChance;
    let secret = zeroize::Zeroizing::new(chance.bytes::<32>());
    write(&key, config::key_file(&secret).as_bytes())?;
    if let Err(stop) = write(&file, config::starter(&answers).as_bytes()) {
        let _ = std::fs::remove_file(&key);
        return Err(stop);
    }
    // The answers were quoted, not checked: reading them back says whether they make sense.
    let read =
        config::load(&config::Options { file: Some(file.clone()), ..shell.options.clone() }, super::now());
    if let Err(report) = read {
        for path in [&file, &key] {
            let _ = std::fs::remove_file(path);
        }
        output::note(report.render(shell.screen.color_err).trim_end());
        return Err(Stop::usage("these answers make no configuration; nothing was kept"));
    }
    let secured = answers.tls.is_some() || !answers.public_url.starts_with("https:");
    let config = if file == Path::new("cardea.toml") {
        String::new()
    } else {
        format!(" --config {}", file.display())
    };
    output::print(&format!(
        "wrote {} and {} (keep a copy of the key apart from the copies of the database)\n\
         next: cardea{config} serve, and cardea{config} admin invite for the first administrator\n",
        file.display(),
        key.display()
    ));
    if !secured {
        output::note(&format!(
            "TLS: browsers come over https, so let a proxy in front end it, or name a certificate under [tls] in {}; \
             cardea{config} cert dev makes one to try with",
            file.display()
        ));
    }
    Ok(0)
}

/// A new file that only its owner reads.
fn write(path: &Path, text: &[u8]) -> Result<(), Stop> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()))
        .map_err(|error| Stop::refused(format!("cannot write {}: {error}", path.display())))
}

fn answers(wanted: Init) -> Result<Answers, Stop> {
    let asks = wanted.public_url.is_none() && prompt::somebody();
    if wanted.public_url.is_none() && !asks {
        return Err(Stop::usage(
            "say where people sign in: cardea init --public-url https://access.example.com",
        ));
    }
    let ask = |question: &str, given: Option<String>, default: &str| match given {
        Some(given) => Ok(given),
        None if asks => prompt::line(question, default),
        None => Ok(default.to_owned()),
    };
    let public_url = ask("Where do people sign in", wanted.public_url, "https://access.example.com")?;
    let storage_url =
        ask("Where are records kept (sqlite:FILE or postgres://…)", wanted.storage, "sqlite:cardea.db")?;
    let question = "A file with the certificate for browsers (empty when a proxy in front ends TLS)";
    let cert = match wanted.cert {
        None if !public_url.starts_with("https:") => String::new(),
        given => ask(question, given, "")?,
    };
    let tls = if cert.is_empty() {
        None
    } else {
        Some((cert, ask("And one with its key", wanted.key, "access.key")?))
    };
    let tenant = ask("What is the first tenant called in rules", wanted.tenant, "default")?;
    let tenant = tenant
        .split_once('=')
        .map_or_else(|| (tenant.clone(), tenant.clone()), |(slug, name)| (slug.to_owned(), name.to_owned()));
    let host = ask("The host of the first app (empty for none yet)", wanted.route_host, "")?;
    let route = if host.is_empty() {
        None
    } else {
        let to = ask("Where does it run", wanted.route_to, "http://127.0.0.1:3000")?;
        Some(FirstRoute { host, to, allow: wanted.allow })
    };
    Ok(Answers {
        public_url,
        listen: wanted.listen,
        tls,
        storage_url,
        master_key_file: Some(PathBuf::from(KEY).display().to_string()),
        brand: wanted.brand,
        tenant: Some(tenant),
        route,
    })
}
