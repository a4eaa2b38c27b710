//! The other side of a connection, byte by byte: what a well-behaved HTTP server cannot do.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kubeherald::testkit::receivers::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What is done with a connection.
#[derive(Debug, Clone)]
pub enum Act {
    /// The request is read, this is said, and the connection is closed.
    Say(String),
    /// This is said as soon as anything comes.
    Blurt(String),
    /// The same as the first, and then the connection is reset.
    SayAndReset(String),
    /// The same, and then nothing more is said, ever.
    SayAndHang(String),
    /// A byte each second.
    Drip(String),
    /// This, and then more and more of it.
    Endless(String),
    /// Reset before anything is read: with TLS, in the middle of the handshake.
    Reset,
}

type Tls = Option<Arc<rustls::ServerConfig>>;

/// A peer on a loopback port.
pub struct Peer {
    pub port: u16,
    act: Arc<Mutex<Act>>,
    tls: Arc<Mutex<Tls>>,
    taken: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let act = Arc::new(Mutex::new(Act::Reset));
        let tls: Arc<Mutex<Tls>> = Arc::default();
        let taken: Arc<Mutex<Vec<String>>> = Arc::default();
        let bodies = Arc::clone(&taken);
        let (each, each_tls) = (Arc::clone(&act), Arc::clone(&tls));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let act = each.lock().unwrap().clone();
                let tls = each_tls.lock().unwrap().clone();
                let bodies = Arc::clone(&bodies);
                connections.spawn(async move {
                    // Who is treated badly goes away.
                    one(stream, act, tls, &bodies).await.ok();
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, act, tls, taken, task }
    }

    /// Does this from the next connection on.
    pub fn does(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    /// The bodies of the requests that were answered with 2xx, in order.
    pub fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }

    /// Speaks TLS so from the next connection on, or not at all.
    pub fn shows(&self, tls: Tls) {
        *self.tls.lock().unwrap() = tls;
    }
}

async fn one(stream: TcpStream, act: Act, tls: Tls, taken: &Mutex<Vec<String>>) -> io::Result<()> {
    if matches!(act, Act::Reset) {
        stream.readable().await?;
        return stream.set_zero_linger();
    }
    if matches!(act, Act::SayAndReset(_)) {
        stream.set_zero_linger()?;
    }
    let mut stream: Box<dyn Stream> = match tls {
        Some(config) => Box::new(tokio_rustls::TlsAcceptor::from(config).accept(stream).await?),
        None => Box::new(stream),
    };
    let mut path = String::new();
    if matches!(act, Act::Blurt(_)) {
        stream.read_u8().await?;
    } else {
        let (asked, body) = request(&mut stream).await?;
        if matches!(&act, Act::Say(text) if text.starts_with("HTTP/1.1 2")) {
            taken.lock().unwrap().push(body);
        }
        path = asked;
    }
    match act {
        Act::Reset => {}
        Act::Say(text) | Act::Blurt(text) => {
            stream.write_all(text.replace("{path}", &path).as_bytes()).await?;
            stream.shutdown().await?;
        }
        Act::SayAndReset(text) => {
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await?;
            // A reset throws away what the other side has not read yet.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Act::SayAndHang(text) => {
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await?;
            std::future::pending::<()>().await;
        }
        Act::Drip(text) => {
            for byte in text.as_bytes() {
                stream.write_all(&[*byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Act::Endless(text) => {
            stream.write_all(text.as_bytes()).await?;
            loop {
                stream.write_all(&[b'a'; 4096]).await?;
            }
        }
    }
    Ok(())
}

/// Reads a request to its end: its path and its body.
async fn request(stream: &mut Box<dyn Stream>) -> io::Result<(String, String)> {
    let mut got = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        got.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&got);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
            .unwrap_or(0_usize);
        if got.len() >= head.len() + 4 + length {
            return Ok((head.split(' ').nth(1).unwrap_or_default().to_owned(), body.to_owned()));
        }
    }
}

/// A whole answer; `{path}` in it is what was asked for.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
    if !body.contains("{path}") {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n" + body
}
