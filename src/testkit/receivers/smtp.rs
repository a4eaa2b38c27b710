//! A mail server: EHLO, STARTTLS, AUTH PLAIN and LOGIN, MAIL, RCPT, DATA, RSET, QUIT.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, ReadBuf};
use tokio::net::TcpListener;

use super::{Record, Task, lock};
use crate::clock::Clock;
use crate::notify::network::AsyncTokioStream;

/// The longest message that is taken.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// What one end in memory may send before it has to wait, in bytes.
const BUFFER: usize = 64 * 1024;

/// Both directions of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// Makes TLS of a plain connection: given by the test, so that the library needs no TLS server.
pub type Upgrade = Arc<
    dyn Fn(Box<dyn Stream>) -> Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>
        + Send
        + Sync,
>;

/// A mail that was taken.
#[derive(Debug, Clone)]
pub struct ReceivedMail {
    pub at: Timestamp,
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body as they came, dots unstuffed.
    pub raw: String,
    /// Was the connection encrypted?
    pub tls: bool,
    /// What AUTH was given, as it was sent (base64).
    pub auth: Vec<String>,
}

/// What a server says in place of its usual answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SmtpReply {
    Line(String),
    Hang,
    /// Nothing; the connection is closed.
    HangUp,
    /// This line, a byte each second.
    Drip(String),
}

#[derive(Debug)]
struct Scripted {
    verb: String,
    containing: String,
    reply: SmtpReply,
}

struct Shared {
    mails: Record<ReceivedMail>,
    script: Mutex<VecDeque<Scripted>>,
    upgrade: Option<Upgrade>,
    implicit: bool,
    clock: Clock,
}

/// A mail server on a free loopback port, or without a socket.
pub struct SmtpServer {
    address: Option<SocketAddr>,
    shared: Arc<Shared>,
    _task: Option<Task>,
}

/// The client's end of a connection that is served in the same runtime.
#[derive(Debug)]
struct MemoryStream(DuplexStream);

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for MemoryStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl SmtpServer {
    pub async fn start() -> io::Result<Self> {
        Self::start_with(None, false).await
    }

    /// Offers STARTTLS where it has an `upgrade`; `implicit`: begins with it.
    pub async fn start_with(upgrade: Option<Upgrade>, implicit: bool) -> io::Result<Self> {
        Self::listen(TcpListener::bind(("127.0.0.1", 0)).await?, upgrade, implicit)
    }

    /// On the port of one that was down.
    pub async fn start_on(port: u16) -> io::Result<Self> {
        Self::listen(TcpListener::bind(("127.0.0.1", port)).await?, None, false)
    }

    fn listen(listener: TcpListener, upgrade: Option<Upgrade>, implicit: bool) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            mails: Record::default(),
            script: Mutex::default(),
            upgrade,
            implicit,
            clock: Clock::System,
        });
        let each = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&each);
                connections.spawn(async move {
                    // A client that goes away ends its session.
                    Session::run(shared, Box::new(stream)).await.ok();
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address: Some(address), shared, _task: Some(Task(task)) })
    }

    /// Without a socket and without encryption: see [`Self::connect`]. It outlives runtimes.
    pub fn in_memory(clock: Clock) -> Self {
        let (mails, script) = (Record::default(), Mutex::default());
        let shared = Shared { mails, script, upgrade: None, implicit: false, clock };
        Self { address: None, shared: Arc::new(shared), _task: None }
    }

    /// A connection to it; the other end is served in this runtime.
    pub fn connect(&self) -> Box<dyn AsyncTokioStream> {
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        let shared = Arc::clone(&self.shared);
        drop(tokio::spawn(async move {
            // A client that goes away ends its session.
            Session::run(shared, Box::new(theirs)).await.ok();
        }));
        Box::new(MemoryStream(ours))
    }

    /// The port on 127.0.0.1; 0 without a socket.
    pub fn port(&self) -> u16 {
        self.address.map_or(0, |address| address.port())
    }

    /// Says `reply` to the next `verb` (`CONNECT`, `EHLO`, `STARTTLS`, `AUTH`, `MAIL`, `RCPT`,
    /// `DATA`, `BODY`, `TAKEN`, `RSET`, `QUIT`) whose line contains `containing`. `BODY` is asked
    /// before a mail is taken, `TAKEN` after.
    pub fn next(&self, verb: &str, containing: &str, reply: SmtpReply) {
        lock(&self.shared.script).push_back(Scripted {
            verb: verb.to_owned(),
            containing: containing.to_owned(),
            reply,
        });
    }

    /// The mails that were taken.
    pub fn mails(&self) -> &Record<ReceivedMail> {
        &self.shared.mails
    }
}

struct Session {
    shared: Arc<Shared>,
    stream: BufStream<Box<dyn Stream>>,
    tls: bool,
    auth: Vec<String>,
    from: Option<String>,
    to: Vec<String>,
}

impl Session {
    fn new(shared: Arc<Shared>, stream: Box<dyn Stream>, tls: bool) -> Self {
        Self { shared, stream: BufStream::new(stream), tls, auth: Vec::new(), from: None, to: Vec::new() }
    }

    async fn run(shared: Arc<Shared>, stream: Box<dyn Stream>) -> io::Result<()> {
        let (stream, tls) = match &shared.upgrade {
            Some(upgrade) if shared.implicit => (upgrade(stream).await?, true),
            _ => (stream, false),
        };
        let mut session = Self::new(shared, stream, tls);
        if !session.answer("CONNECT", "", "220 mail.test ESMTP").await? {
            return Ok(());
        }
        while let Some(line) = session.line().await? {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            if verb == "STARTTLS" {
                let Some(upgrade) = session.shared.upgrade.clone().filter(|_| !session.tls) else {
                    session.say("502 not available").await?;
                    continue;
                };
                if session.answer("STARTTLS", &line, "220 go ahead").await? {
                    let Self { shared, stream, .. } = session;
                    session = Self::new(shared, upgrade(stream.into_inner()).await?, true);
                }
            } else if !session.verb(&verb, &line).await? {
                break;
            }
        }
        Ok(())
    }

    /// One command; `false` ends the session.
    async fn verb(&mut self, verb: &str, line: &str) -> io::Result<bool> {
        let argument = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        match verb {
            "EHLO" | "HELO" => {
                let starttls =
                    if self.shared.upgrade.is_some() && !self.tls { "250-STARTTLS\r\n" } else { "" };
                let text = format!("250-mail.test\r\n{starttls}250-8BITMIME\r\n250 AUTH PLAIN LOGIN");
                self.answer("EHLO", line, &text).await?;
            }
            "AUTH" => {
                self.auth.push(line.to_owned());
                if line.to_uppercase().starts_with("AUTH LOGIN") {
                    for prompt in ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"] {
                        self.say(prompt).await?;
                        let Some(answer) = self.line().await? else { return Ok(false) };
                        self.auth.push(answer);
                    }
                }
                self.answer("AUTH", line, "235 welcome").await?;
            }
            "MAIL" => {
                if self.answer("MAIL", line, "250 sender ok").await? {
                    self.from = Some(argument());
                }
            }
            "RCPT" => {
                if self.answer("RCPT", line, "250 recipient ok").await? {
                    self.to.push(argument());
                }
            }
            "DATA" => {
                if self.from.is_none() || self.to.is_empty() {
                    self.say("503 MAIL and RCPT first").await?;
                } else if self.answer("DATA", line, "354 end with a dot").await? {
                    let Some(raw) = self.body().await? else { return Ok(false) };
                    let mail = ReceivedMail {
                        at: self.shared.clock.now(),
                        from: self.from.take().unwrap_or_default(),
                        to: std::mem::take(&mut self.to),
                        tls: self.tls,
                        auth: self.auth.clone(),
                        raw,
                    };
                    if let Some(reply) = self.scripted("BODY", &mail.raw) {
                        self.reply(reply).await?;
                    } else {
                        // Recorded before it is confirmed: who has the answer finds the mail.
                        self.shared.mails.push(mail);
                        self.answer("TAKEN", "", "250 taken").await?;
                    }
                }
            }
            "RSET" => {
                self.from = None;
                self.to.clear();
                self.answer("RSET", line, "250 reset").await?;
            }
            "NOOP" => self.say("250 ok").await?,
            "QUIT" => {
                self.answer("QUIT", line, "221 bye").await?;
                return Ok(false);
            }
            _ => self.say("500 what?").await?,
        }
        Ok(true)
    }

    fn scripted(&self, verb: &str, line: &str) -> Option<SmtpReply> {
        let mut script = lock(&self.shared.script);
        let at = script.iter().position(|s| s.verb == verb && line.contains(&s.containing))?;
        script.remove(at).map(|s| s.reply)
    }

    /// Says what the script has for this verb, else `usual`; tells whether it was positive.
    async fn answer(&mut self, verb: &str, line: &str, usual: &str) -> io::Result<bool> {
        match self.scripted(verb, line) {
            None => self.say(usual).await.map(|()| true),
            Some(reply) => self.reply(reply).await,
        }
    }

    async fn reply(&mut self, reply: SmtpReply) -> io::Result<bool> {
        match reply {
            SmtpReply::Line(text) => {
                self.say(&text).await?;
                Ok(text.starts_with(['2', '3']))
            }
            SmtpReply::Hang => std::future::pending().await,
            SmtpReply::HangUp => Err(io::ErrorKind::ConnectionReset.into()),
            SmtpReply::Drip(text) => {
                for byte in text.bytes().chain(*b"\r\n") {
                    self.stream.write_all(&[byte]).await?;
                    self.stream.flush().await?;
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
                Ok(text.starts_with(['2', '3']))
            }
        }
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.write_all(b"\r\n").await?;
        self.stream.flush().await
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        if self.stream.read_until(b'\n', &mut bytes).await? == 0 {
            return Ok(None);
        }
        // A bare line feed is where one message could become two: strict servers refuse it.
        if !bytes.ends_with(b"\r\n") {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.truncate(bytes.len() - 2);
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    async fn body(&mut self) -> io::Result<Option<String>> {
        let mut out = String::new();
        while let Some(line) = self.line().await? {
            if line == "." {
                return Ok(Some(out));
            }
            if out.len() > MAX_MESSAGE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            out.push_str(line.strip_prefix('.').unwrap_or(&line));
            out.push_str("\r\n");
        }
        Ok(None)
    }
}
