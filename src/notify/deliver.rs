//! Posts alerts to a webhook or to Alertmanager.
//!
//! The URL may hold a token anywhere: of it, only scheme and host are ever shown. Nothing a receiver answers is shown
//! either, as many repeat the path they were asked for; Alertmanager's words are, where its URL holds nothing secret.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use rand::RngExt;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Posts that are under way at the same time.
const AT_A_TIME: usize = 4;
/// The pause before the second try, doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// What is read of an answer, and how long that may take once its status is known.
const ANSWER_BYTES: usize = 64 << 10;
const ANSWER_TIME: Duration = Duration::from_millis(500);
/// What is shown of it.
const WORDS: usize = 200;

/// Where alerts are posted.
#[derive(Debug)]
pub struct Receiver {
    client: Client,
    url: Url,
    alertmanager: bool,
}

/// Why something was not delivered, in words that hold nothing of the URL.
#[derive(Clone, Debug)]
pub struct Undelivered {
    /// In words.
    pub why: String,
    /// The receiver may have taken it all the same: it was sent, and nobody knows what became of it.
    pub perhaps: bool,
    /// It was refused for what is in it, or for its length: a part of it may be accepted.
    pub divisible: bool,
}

/// How a try failed.
enum Failed {
    /// Worth another try, at once or after so long.
    ForNow(Undelivered, Option<Duration>),
    /// The same again would end the same.
    ForGood { why: String, divisible: bool },
}

fn for_good(why: String) -> Failed {
    Failed::ForGood { why, divisible: false }
}

impl Receiver {
    /// The receiver at a URL. Nothing is sent yet.
    ///
    /// # Errors
    /// Why the URL cannot be posted to; it is not repeated.
    pub fn open(url: &str) -> Result<Self, String> {
        let url = Url::parse(url.trim()).map_err(|error| format!("it is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("it does not start with https:// or http://".to_owned());
        }
        // Named, not taken from the process: nobody else's choice of provider can change it.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("tenantctl/", env!("CARGO_PKG_VERSION")))
            // Elsewhere the token is nobody's business; and a POST that is answered with 302 becomes a GET that tells nothing.
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .build()
            .map_err(|error| format!("the HTTP client cannot be set up: {}", error.without_url()))?;
        Ok(Self {
            alertmanager: url.path().trim_end_matches('/').ends_with("/api/v2/alerts"),
            client,
            url,
        })
    }

    /// Whether it is Alertmanager's API, of version 2.
    pub fn is_alertmanager(&self) -> bool {
        self.alertmanager
    }

    /// Scheme, host and port.
    pub fn place(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!(
            "{}://{}{port}",
            self.url.scheme(),
            self.url.host_str().unwrap_or_default()
        )
    }

    /// Asks for the headers alone, which tells nobody anything. Returns the status of the answer, whatever it is.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn reach(&self, limit: Duration) -> Result<u16, String> {
        let asked = self.client.head(self.url.clone()).send();
        match timeout(limit, asked).await {
            Ok(Ok(response)) => Ok(response.status().as_u16()),
            Ok(Err(error)) => Err(match unanswered(&error) {
                Failed::ForNow(undelivered, _) => undelivered.why,
                Failed::ForGood { why, .. } => why,
            }),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Posts these bodies, several at a time, until the deadline; says of each whether the receiver has accepted it, or
    /// why not. A body that was sent and not answered in time counts as not accepted, so that it may arrive twice.
    pub async fn post(&self, bodies: Vec<Vec<u8>>, deadline: Instant) -> Vec<Result<(), Undelivered>> {
        iter(bodies.into_iter().map(|body| self.deliver(body, deadline)))
            .buffered(AT_A_TIME)
            .collect()
            .await
    }

    async fn deliver(&self, body: Vec<u8>, deadline: Instant) -> Result<(), Undelivered> {
        let body = bytes::Bytes::from(body);
        let mut pause = FIRST_PAUSE;
        let mut last = Undelivered {
            why: "the time for it was over".to_owned(),
            perhaps: false,
            divisible: false,
        };
        loop {
            if Instant::now() >= deadline {
                return Err(last);
            }
            let wait = match timeout_at(deadline, self.attempt(body.clone())).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Failed::ForGood { why, divisible })) => {
                    return Err(Undelivered { why, divisible, ..last });
                }
                Ok(Err(Failed::ForNow(failed, wait))) => {
                    last = Undelivered {
                        why: failed.why,
                        perhaps: last.perhaps || failed.perhaps,
                        divisible: false,
                    };
                    // Not all that failed together try again together.
                    wait.unwrap_or_else(|| pause.mul_f64(rand::rng().random_range(0.5..1.0)))
                }
                Err(_) => {
                    return Err(Undelivered {
                        why: "no answer in time".to_owned(),
                        perhaps: true,
                        divisible: false,
                    });
                }
            };
            // Waiting for the deadline itself would help nobody. A receiver may ask for any time, even one that cannot be told.
            if wait >= deadline.saturating_duration_since(Instant::now()) {
                return Err(last);
            }
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, body: bytes::Bytes) -> Result<(), Failed> {
        let request = self.client.post(self.url.clone());
        let response = request
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await
            .map_err(|error| unanswered(&error))?;
        let status = response.status();
        if status.is_success() {
            // Read to its end, the connection serves the next post too.
            let _ = answer(response).await;
            return Ok(());
        }
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let wait = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok());
            let wait = wait
                .and_then(|value| value.trim().parse().ok())
                .map(Duration::from_secs);
            // A server in front of it may have passed it on before it failed.
            let perhaps = status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE;
            let why = format!("it answered {status}");
            let failed = Undelivered {
                why,
                perhaps,
                divisible: false,
            };
            return Err(Failed::ForNow(failed, wait));
        }
        if status.is_redirection() {
            return Err(Failed::ForGood {
                why: format!(
                    "it answered {status}, and redirects are not followed: configure the URL that it leads to"
                ),
                divisible: false,
            });
        }
        let words = if self.may_be_quoted() {
            answer(response).await
        } else {
            None
        };
        Err(Failed::ForGood {
            why: match words {
                Some(words) => format!("it answered {status}: {words}"),
                None => format!("it answered {status}"),
            },
            divisible: matches!(
                status,
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
            ),
        })
    }

    /// Whether an answer cannot repeat anything secret of the URL: there is nothing in it but the host.
    fn may_be_quoted(&self) -> bool {
        let url = &self.url;
        url.path() == "/api/v2/alerts" && url.query().is_none() && url.username().is_empty() && url.password().is_none()
    }
}

/// The first words of an answer, on one line.
async fn answer(mut response: Response) -> Option<String> {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES {
                break;
            }
        }
    };
    // What has come until then is enough.
    let _ = timeout(ANSWER_TIME, read).await;
    let text = String::from_utf8_lossy(&body);
    let words: Vec<&str> = text.split_whitespace().collect();
    let words: String = words.join(" ").chars().take(WORDS).collect();
    (!words.is_empty()).then_some(words)
}

/// Neither the error nor what it stems from names the URL.
fn unanswered(error: &reqwest::Error) -> Failed {
    if error.is_builder() {
        return for_good("the request cannot be built".to_owned());
    }
    let mut deepest = error.source();
    while let Some(cause) = deepest {
        if let Some(tls @ rustls::Error::InvalidCertificate(_)) = cause.downcast_ref() {
            return for_good(tls.to_string());
        }
        // What an error of the operating system's kind wraps is not what it says it stems from, but that again.
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match wrapped.map(|e| e as _).or_else(|| cause.source()) {
            Some(further) => deepest = Some(further),
            None => break,
        }
    }
    let what = if error.is_connect() {
        "no connection"
    } else {
        "no answer"
    };
    let why = match deepest {
        Some(cause) => format!("{what}: {cause}"),
        None => what.to_owned(),
    };
    let perhaps = !error.is_connect();
    Failed::ForNow(
        Undelivered {
            why,
            perhaps,
            divisible: false,
        },
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_shows_only_scheme_and_host() {
        for (url, place, alertmanager) in [
            (
                "https://u:s3cret@hooks.example/T0/s3cret?token=s3cret",
                "https://hooks.example",
                false,
            ),
            (" http://am.example:9093/api/v2/alerts ", "http://am.example:9093", true),
            ("https://am.example/prefix/api/v2/alerts/", "https://am.example", true),
            ("https://am.example/api/v2/alerts/x", "https://am.example", false),
        ] {
            let receiver = Receiver::open(url).expect(place);
            assert_eq!(receiver.place(), place);
            assert_eq!(receiver.is_alertmanager(), alertmanager, "{place}");
        }
    }

    #[test]
    fn urls_that_cannot_be_posted_to_are_not_repeated() {
        for url in [
            "",
            "s3cret",
            "https://",
            "http://[s3cret/",
            "smtp://s3cret@h",
            "file:///s3cret",
            "https://h:s3cret/",
        ] {
            let why = Receiver::open(url).expect_err(url);
            assert!(!why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn only_a_bare_alertmanager_is_quoted() {
        let quoted = |url| Receiver::open(url).expect(url).may_be_quoted();
        assert!(quoted("http://am:9093/api/v2/alerts"));
        for url in [
            "http://am:9093/api/v2/alerts?token=x",
            "http://x@am:9093/api/v2/alerts",
            "http://am:9093/x/api/v2/alerts",
            "https://hooks.example/T0/B0",
        ] {
            assert!(!quoted(url), "{url}");
        }
    }
}
