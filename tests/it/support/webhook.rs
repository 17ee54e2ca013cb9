//! A receiver of alerts: a real HTTP server in the test process that records what it is sent and answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use tokio::sync::Notify;

use super::runtime;

/// What a request is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status.
    Status(u16),
    /// A status with a header and a body.
    Full(u16, &'static str, String, String),
    /// A status for whatever holds this text, 200 for the rest.
    StatusIf(u16, String),
    /// 200, after so long.
    Late(Duration),
    /// 200, once this is notified.
    When(Arc<Notify>),
    /// Nothing, ever.
    Hang,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub json: serde_json::Value,
}

#[derive(Default)]
struct Inner {
    received: Vec<Received>,
    next: VecDeque<Answer>,
    always: Option<Answer>,
}

/// The server; it ends with the test process.
pub struct Webhook {
    inner: Arc<Mutex<Inner>>,
    port: u16,
}

impl Webhook {
    /// One that answers 200 to everything.
    pub fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let listener = runtime()
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime().spawn(async move { axum::serve(listener, app).await });
        Self { inner, port }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Answers the next requests so, one after the other, and the rest as before.
    pub fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.inner.lock().unwrap().next.extend(answers);
    }

    /// Answers all requests so.
    pub fn always(&self, answer: Answer) {
        self.inner.lock().unwrap().always = Some(answer);
    }

    /// Waits for a request since the last look, which this is not.
    pub async fn asked(&self) {
        while self.inner.lock().unwrap().received.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What came since the last look, in its order.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.inner.lock().unwrap().received)
    }

    /// The alerts of all posts since the last look, as `status key severity`.
    pub fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = self
            .take()
            .iter()
            .flat_map(|post| post.json["alerts"].as_array().unwrap().clone())
            .map(|alert| {
                let word = |name: &str| alert[name].as_str().unwrap().to_owned();
                format!("{} {} {}", word("status"), word("key"), word("severity"))
            })
            .collect();
        told.sort();
        told
    }
}

async fn answer(
    State(inner): State<Arc<Mutex<Inner>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let answer = {
        let mut inner = inner.lock().unwrap();
        inner.received.push(Received {
            method,
            uri,
            headers,
            json: serde_json::from_slice(&body).unwrap_or_default(),
        });
        inner.next.pop_front().or_else(|| inner.always.clone())
    };
    let (status, header, body) = match answer.unwrap_or(Answer::Status(200)) {
        Answer::Status(status) => (status, None, String::new()),
        Answer::StatusIf(status, text) => {
            let held = String::from_utf8_lossy(&body).contains(&text);
            (if held { status } else { 200 }, None, String::new())
        }
        Answer::Full(status, name, value, body) => (status, Some((name, value)), body),
        Answer::Late(pause) => {
            tokio::time::sleep(pause).await;
            (200, None, String::new())
        }
        Answer::When(told) => {
            told.notified().await;
            (200, None, String::new())
        }
        Answer::Hang => std::future::pending().await,
    };
    let mut response = Response::builder().status(status);
    if let Some((name, value)) = header {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap()
}
