//! A mail server on the other end of a pipe: it speaks SMTP to the real client.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kubeherald::notify::network::AsyncTokioStream;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, ReadBuf};

use super::plan::{ReceiverFault, Seam};
use super::record::Mail;
use super::settings::{MAIL, RECIPIENTS};
use super::world::{World, lock};

/// What a pipe holds.
const PIPE: usize = 64 * 1024;
/// How long a slow server thinks about a mail that it takes.
const SLOW: Duration = Duration::from_secs(26);

#[derive(Debug)]
struct Pipe(DuplexStream);

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Pipe {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([192, 0, 2, 25], 25)))
    }
}

pub async fn connect(world: &Arc<World>, _host: &str) -> io::Result<Box<dyn AsyncTokioStream>> {
    let Some(operation) = world.begin(Seam::Mail) else { return pending().await };
    let nth = world.nth("connect");
    tokio::time::sleep(world.latency("connect", nth, 1, 40)).await;
    let fault = world.receiver_fault(MAIL);
    world.note(&format!("mail connection {nth}, {fault:?}"));
    if !world.end(operation) {
        return pending().await;
    }
    match fault {
        Some(ReceiverFault::Hang) => return pending().await,
        Some(ReceiverFault::Reset) => return Err(io::ErrorKind::ConnectionRefused.into()),
        _ => {}
    }
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let session = Session { world: Arc::clone(world), stream: BufStream::new(ours), to: None };
    // It ends with the runtime of this life, or with the client.
    tokio::spawn(async move { session.run().await.ok() });
    Ok(Box::new(Pipe(theirs)))
}

struct Session {
    world: Arc<World>,
    stream: BufStream<DuplexStream>,
    to: Option<String>,
}

impl Session {
    async fn run(mut self) -> io::Result<()> {
        self.say("220 mail.sim ESMTP").await?;
        while let Some(line) = self.line().await? {
            let Some(operation) = self.world.begin(Seam::Mail) else { return pending().await };
            let nth = self.world.nth("smtp");
            tokio::time::sleep(self.world.latency("smtp", nth, 1, 30)).await;
            if self.world.is_dead() {
                return pending().await;
            }
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let fault = self.world.receiver_fault(MAIL);
            let said = match (verb.as_str(), fault) {
                ("EHLO" | "HELO", _) => "250-mail.sim\r\n250 8BITMIME",
                ("MAIL", Some(ReceiverFault::Status429 | ReceiverFault::Status500)) => "451 try again later",
                ("MAIL", Some(ReceiverFault::Status503)) => {
                    self.say("421 closing").await?;
                    return Ok(());
                }
                ("MAIL", Some(ReceiverFault::Unauthorized | ReceiverFault::Forbidden)) => {
                    "530 5.7.0 authentication required"
                }
                ("RCPT", Some(ReceiverFault::Refused)) => "554 5.7.1 rejected",
                ("RCPT", Some(ReceiverFault::OneRecipient)) if line.contains(RECIPIENTS[1]) => {
                    "550 5.1.1 no such user"
                }
                ("RCPT", _) => {
                    self.to = line.split(['<', '>']).nth(1).map(str::to_owned);
                    "250 ok"
                }
                ("DATA", _) => {
                    if !self.world.end(operation) {
                        return pending().await;
                    }
                    self.say("354 end with a dot").await?;
                    if !self.data().await? {
                        return Ok(());
                    }
                    continue;
                }
                ("QUIT", _) => {
                    self.say("221 bye").await?;
                    return Ok(());
                }
                _ => "250 ok",
            };
            if !self.world.end(operation) {
                return pending().await;
            }
            self.say(said).await?;
        }
        Ok(())
    }

    /// Takes a mail; `false` ends the session.
    async fn data(&mut self) -> io::Result<bool> {
        let mut raw = String::new();
        loop {
            let Some(line) = self.line().await? else { return Ok(false) };
            if line == "." {
                break;
            }
            raw.push_str(line.strip_prefix('.').unwrap_or(&line));
            raw.push_str("\r\n");
        }
        let Some(operation) = self.world.begin(Seam::Mail) else { return pending().await };
        let fault = self.world.receiver_fault(MAIL);
        if fault == Some(ReceiverFault::Slow) {
            tokio::time::sleep(SLOW).await;
        }
        if self.world.is_dead() {
            return pending().await;
        }
        if fault == Some(ReceiverFault::HalfAnswer) {
            // It was refused at the last moment, and may be tried again.
            if !self.world.end(operation) {
                return pending().await;
            }
            self.say("452 no space left, try again later").await?;
            return Ok(true);
        }
        let header = |name: &str| {
            let found = raw.lines().find_map(|line| line.strip_prefix(name));
            found.and_then(|rest| rest.strip_prefix(": ")).unwrap_or_default().to_owned()
        };
        let mail = Mail {
            at: self.world.now(),
            life: self.world.life(),
            to: self.to.take().unwrap_or_default(),
            id: header("Message-ID"),
            thread: header("X-Kubeherald-Thread"),
            answered: false,
            raw,
        };
        self.world.note(&format!("mail {} for {} is taken", mail.id, mail.to));
        let place = {
            let mut record = lock(&self.world.record);
            let size = mail.raw.len();
            let largest = record.largest.entry(MAIL).or_default();
            *largest = size.max(*largest);
            record.mails.push(mail);
            record.mails.len() - 1
        };
        if !self.world.end(operation) {
            return pending().await;
        }
        match fault {
            Some(ReceiverFault::HangTaken) => return pending().await,
            Some(ReceiverFault::ResetTaken) => return Ok(false),
            _ => {}
        }
        self.say("250 taken").await?;
        lock(&self.world.record).mails[place].answered = true;
        Ok(true)
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
        while bytes.ends_with(b"\n") || bytes.ends_with(b"\r") {
            bytes.pop();
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}
