//! The exporter over HTTP: who may connect for how long, and what is answered.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::exporter::Exporter;
use super::exposition::{Exposition, Format};
use crate::error::{Error, ErrorKind, Result};

/// Connections at a time; more wait until one of these ends.
const CONNECTIONS: usize = 128;
/// The longest that a client may take to send a request.
const REQUEST: Duration = Duration::from_secs(15);
/// The longest that it may take for the answer, and until its next request: longer than most scrape intervals.
const ANSWER: Duration = Duration::from_secs(100);
/// The longest that answers under way are waited for at the end.
const GRACE: Duration = Duration::from_secs(5);

/// The page for people.
const PAGE: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>tenantctl metrics</title></head>
<body><h1>tenantctl metrics</h1>
<ul>
<li><a href=\"/metrics\">/metrics</a>: samples for Prometheus</li>
<li><a href=\"/healthz\">/healthz</a>: whether the exporter runs</li>
<li><a href=\"/readyz\">/readyz</a>: whether the last measurement succeeded</li>
</ul></body></html>
";

/// Listens at an address: `host:port`, `[::1]:9187`, or `:9187` for all addresses.
///
/// # Errors
/// Kind `usage` for what is no address, or none of this machine's; `in_use` where somebody listens there already;
/// `permission` for a port that this user may not listen at.
pub async fn listen(address: &str) -> Result<TcpListener> {
    let failed =
        |kind, hint: &str| Error::new(kind, format!("cannot listen at {address:?}")).with_hint(hint.to_owned());
    let form = "Give --listen a host and a port, such as 127.0.0.1:9187, [::1]:9187, or :9187 for all addresses.";
    let port = address.rsplit_once(':').map(|(_, port)| port);
    if port.is_none_or(|port| port.parse::<u16>().is_err()) {
        return Err(failed(ErrorKind::Usage, form).with_cause("it has no port between 0 and 65535"));
    }
    let bound = match address.strip_prefix(':') {
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            // Without IPv6 all addresses are those of IPv4.
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
                TcpListener::bind(format!("0.0.0.0:{port}")).await
            }
            bound => bound,
        },
        None => TcpListener::bind(address).await,
    };
    bound.map_err(|error| {
        match error.kind() {
            std::io::ErrorKind::AddrInUse => failed(
                ErrorKind::InUse,
                "Another program listens there, another exporter perhaps: stop it, or choose another port with --listen.",
            ),
            std::io::ErrorKind::PermissionDenied => failed(
                ErrorKind::Permission,
                "Ports below 1024 are for the superuser: choose another with --listen.",
            ),
            std::io::ErrorKind::AddrNotAvailable => failed(
                ErrorKind::Usage,
                "That is no address of this machine; :PORT listens at all that it has.",
            ),
            _ => failed(ErrorKind::Usage, form),
        }
        .with_cause(error)
    })
}

/// Serves until `stop` is done, then lets answers under way be finished, for some seconds at most.
///
/// # Errors
/// When serving fails.
pub async fn serve(
    listener: TcpListener,
    exporter: Arc<Exporter>,
    stop: impl Future<Output = ()> + Send,
) -> Result<()> {
    let (stopped, wait) = tokio::sync::watch::channel(false);
    let until_stopped = |mut wait: tokio::sync::watch::Receiver<bool>| async move {
        let _ = wait.wait_for(|stopped| *stopped).await;
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let router = Router::new()
        .route(
            "/",
            get(async || ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE)),
        )
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(&exporter))
        .layer(map_response_with_state(Arc::clone(&places), leave_places));
    let listener = Limited { listener, places };
    let serving = axum::serve(listener, router).with_graceful_shutdown(until_stopped(wait.clone()));
    let ending = async {
        until_stopped(wait).await;
        tokio::time::sleep(GRACE).await;
    };
    let signal = async {
        stop.await;
        exporter.stop();
        stopped.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = serving => served.map_err(|e| Error::new(ErrorKind::Unknown, "cannot serve").with_cause(e)),
        () = ending => Ok(()),
        () = signal => Ok(()),
        () = exporter.run() => Ok(()),
    }
}

/// Clients that keep their connections must not take the place of all others: beyond half of the places each has one answer.
async fn leave_places(State(places): State<Arc<Semaphore>>, mut response: Response) -> Response {
    if places.available_permits() < CONNECTIONS / 2 {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn metrics(State(exporter): State<Arc<Exporter>>, headers: HeaderMap) -> Response {
    let accept: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let format = Format::accepted(Some(&accept.join(",")));
    let answer = match exporter.scrape().await {
        Ok(answer) => answer,
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    };
    let texts: Vec<Arc<Exposition>> = answer.fleet.into_iter().chain([answer.own]).collect();
    let length: usize = texts.iter().map(|text| text.length(format)).sum();
    let stream = futures_util::stream::iter(texts.into_iter().flat_map(move |text| text.pieces(format)));
    (
        [
            (header::CONTENT_TYPE, format.media_type().to_owned()),
            (header::CONTENT_LENGTH, length.to_string()),
        ],
        Body::from_stream(stream),
    )
        .into_response()
}

async fn ready(State(exporter): State<Arc<Exporter>>) -> Response {
    match exporter.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// Takes only so many connections at a time, each only for so long.
struct Limited {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl axum::serve::Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Nobody closes it.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            deadline: Box::pin(tokio::time::sleep(REQUEST)),
            answering: false,
            _place: place,
        };
        (connection, address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when a request or its answer takes too long, however it trickles.
struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    /// The request has been read; what is read next belongs to another.
    answering: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn in_time<T>(&mut self, cx: &mut Context<'_>, result: Poll<std::io::Result<T>>) -> Poll<std::io::Result<T>> {
        match result {
            Poll::Pending if self.deadline.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
            }
            result => result,
        }
    }

    fn turn(&mut self, answering: bool, limit: Duration) {
        if self.answering != answering {
            self.answering = answering;
            self.deadline.as_mut().reset(Instant::now() + limit);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.turn(false, REQUEST);
        }
        self.in_time(cx, read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.turn(true, ANSWER);
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.in_time(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.turn(true, ANSWER);
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.in_time(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.in_time(cx, shut)
    }
}
