//! The Unix socket between the command line and a running server.
//!
//! One JSON document a line, a command one way and its answer the other. The socket belongs to whoever runs the server,
//! with mode 0600 from its first moment; the kernel says who connects, and only the same user and root are heard.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::access::Authority;

use super::{Answer, Command, Controls, Exit, execute};

/// The longest document that is read.
const MOST: u64 = 8 * 1024 * 1024;
/// How long somebody who has connected may take to say what they want.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a command may take.
const LONGEST: Duration = Duration::from_mins(10);

/// Serves commands at a path until it is dropped.
///
/// # Errors
/// When another server listens there, or the socket cannot be made.
pub async fn serve_socket(path: &Path, controls: Arc<Controls>) -> io::Result<()> {
    let socket = Socket::bind(path).await?;
    socket.serve(controls).await
}

/// A socket that listens, and is taken away when it is dropped.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
    inode: u64,
}

impl Socket {
    /// Listens at a path. What a dead server left there is replaced; a living one is not.
    ///
    /// # Errors
    /// When another server listens there, or something else stands there.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        private_folder(folder)?;
        if UnixStream::connect(path).await.is_ok() {
            let text = format!("another server listens at {}", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        if std::fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
            let text = format!("{} is there and is no socket", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        // Made where nobody else can look, and moved: at no moment is it there with another mode.
        let nook = folder.join(format!(".{}", std::process::id()));
        if nook.exists() {
            std::fs::remove_dir_all(&nook)?;
        }
        std::fs::DirBuilder::new().mode(0o700).create(&nook)?;
        let made = (|| {
            let first = nook.join("s");
            let listener = UnixListener::bind(&first)?;
            std::fs::set_permissions(&first, std::fs::Permissions::from_mode(0o600))?;
            std::fs::rename(&first, path)?;
            let found = std::fs::symlink_metadata(path)?;
            Ok(Self { listener, path: path.to_owned(), owner: found.uid(), inode: found.ino() })
        })();
        std::fs::remove_dir_all(&nook)?;
        made
    }

    /// Answers whoever connects. Never ends by itself.
    ///
    /// # Errors
    /// Never in practice.
    pub async fn serve(self, controls: Arc<Controls>) -> io::Result<()> {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (controls, owner) = (Arc::clone(&controls), self.owner);
                    tokio::spawn(async move {
                        if let Err(error) = talk(stream, owner, &controls).await {
                            tracing::debug!(%error, "a command was not answered");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket does not take connections");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Only our own: a newer server may have put another there.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn private_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

async fn talk(stream: UnixStream, owner: u32, controls: &Controls) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let (reading, mut writing) = stream.into_split();
    if peer != owner && peer != 0 {
        let refusal = Answer {
            exit: Exit::Refused,
            code: Some("forbidden".to_owned()),
            ..Answer::said("only the user who runs the server, and root, may give it commands")
        };
        return send(&mut writing, &written(&refusal)?).await;
    }
    let by = Authority::operator(&operator_name(peer));
    let mut reading = BufReader::new(reading);
    while let Some(line) = timeout(PATIENCE, receive(&mut reading)).await?? {
        let answer = match serde_json::from_slice::<Command>(&line) {
            Ok(command) => {
                timeout(LONGEST, Box::pin(execute(controls, &by, command))).await.unwrap_or_else(|_| Answer {
                    exit: Exit::Refused,
                    ..Answer::said("it took too long and was given up")
                })
            }
            Err(error) => Answer {
                exit: Exit::Usage,
                code: Some("usage".to_owned()),
                ..Answer::said(format!(
                    "the server does not know this command ({error}); are both of one version?"
                ))
            },
        };
        send(&mut writing, &written(&answer)?).await?;
    }
    Ok(())
}

/// A line without its end; `None` when there is none.
async fn receive(
    from: &mut BufReader<tokio::net::unix::OwnedReadHalf>,
) -> io::Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
    // It may hold a password.
    let mut line = zeroize::Zeroizing::new(Vec::new());
    let read = from.take(MOST).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if u64::try_from(read).is_ok_and(|read| read == MOST) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "too long"))
        }
        Some(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "cut off")),
    }
}

fn written<T: serde::Serialize>(what: &T) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
    let mut line = zeroize::Zeroizing::new(serde_json::to_vec(what)?);
    line.push(b'\n');
    Ok(line)
}

async fn send(to: &mut tokio::net::unix::OwnedWriteHalf, line: &[u8]) -> io::Result<()> {
    to.write_all(line).await?;
    to.flush().await
}

/// The name of a user of the operating system; `uid 1000` for one that has none.
#[must_use]
pub fn operator_name(uid: u32) -> String {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
}

/// Who runs this program, by number: whose the kernel says its own entry is.
fn own_uid() -> io::Result<u32> {
    std::fs::metadata("/proc/self").map(|found| found.uid())
}

/// Who runs this program, by name.
#[must_use]
pub fn own_name() -> String {
    own_uid().map_or_else(|_| "somebody".to_owned(), operator_name)
}

/// The server is there and does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the server at {} does not answer: {why}", .path.display())]
pub struct Unreachable {
    path: PathBuf,
    why: String,
}

/// The command line's end of the socket.
pub struct Client {
    path: PathBuf,
    reading: BufReader<tokio::net::unix::OwnedReadHalf>,
    writing: tokio::net::unix::OwnedWriteHalf,
}

impl Client {
    /// Connects; `None` when no server runs.
    ///
    /// # Errors
    /// When one may run, and cannot be asked.
    pub async fn connect(path: &Path) -> Result<Option<Self>, Unreachable> {
        let fail = |why: String| Unreachable { path: path.to_owned(), why };
        let connected = timeout(Duration::from_secs(5), UnixStream::connect(path)).await;
        let stream = match connected.map_err(|_| fail("connecting took too long".to_owned()))? {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                    _ => Err(fail(error.to_string())),
                };
            }
        };
        // A password goes this way: not to a socket that a stranger has put there.
        let peer = stream.peer_cred().map_err(|error| fail(error.to_string()))?.uid();
        let own = own_uid().map_err(|error| fail(error.to_string()))?;
        if own != 0 && peer != own && peer != 0 {
            return Err(fail(format!("it is run by {}", operator_name(peer))));
        }
        let (reading, writing) = stream.into_split();
        Ok(Some(Self { path: path.to_owned(), reading: BufReader::new(reading), writing }))
    }

    /// Has a command carried out.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn call(&mut self, command: &Command) -> Result<Answer, Unreachable> {
        let fail = |why: String| Unreachable { path: self.path.clone(), why };
        let asked = written(command).map_err(|error| fail(error.to_string()))?;
        send(&mut self.writing, &asked).await.map_err(|error| fail(error.to_string()))?;
        let answered = timeout(LONGEST, receive(&mut self.reading)).await;
        let line = answered.map_err(|_| fail("it took too long".to_owned()))?;
        let line = line.map_err(|error| fail(error.to_string()))?;
        let line = line.ok_or_else(|| fail("it hung up".to_owned()))?;
        serde_json::from_slice(&line).map_err(|error| fail(error.to_string()))
    }
}
