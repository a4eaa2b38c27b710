//! How receivers are reached: over the network, or through a simulation of it.
//!
//! Nothing that a user configures leads to the simulation: it is given in code, by tests. It stands where a
//! request would leave the process and where a connection to a mail server would be opened, so building
//! requests, judging answers and the whole SMTP dialogue are the same with both.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
pub use lettre::transport::smtp::client::AsyncTokioStream;

use super::http::TransportError;

/// The way to receivers.
#[derive(Debug, Clone, Default)]
pub enum Network {
    #[default]
    Real,
    /// A simulation, in the same process.
    #[doc(hidden)]
    Simulated(Arc<dyn SimulatedNetwork>),
}

/// Takes the place of HTTP servers and mail servers. Both calls may take as long as they like: the limits of
/// the notifiers apply to them.
#[doc(hidden)]
pub trait SimulatedNetwork: Send + Sync + fmt::Debug {
    fn http(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpAnswer, TransportError>>;

    /// Opens a connection to a mail server. With `tls: implicit` the stream is what is inside of TLS.
    fn connect<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Box<dyn AsyncTokioStream>>>;
}

/// A request as it would leave the process. It may hold secrets, so only the method is printed.
#[doc(hidden)]
pub struct HttpRequest {
    pub method: String,
    /// With path and query.
    pub url: String,
    /// Names in lower case, in the order in which they would be sent.
    pub headers: Vec<(String, String)>,
    /// As it would be sent.
    pub body: Vec<u8>,
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What a simulated server answers.
#[doc(hidden)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: u16,
    /// Headers; one that no HTTP server could send is left out.
    pub headers: Vec<(String, String)>,
    /// All of the body that arrives: for an answer that breaks off, the part before.
    pub body: Vec<u8>,
}
