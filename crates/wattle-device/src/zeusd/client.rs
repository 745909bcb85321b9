//! The requests to zeusd, and what its answers mean. Knows no device.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::Agent;

use super::unix::{NoResolver, UnixConnector};

/// How long a request may take, from connecting to the last byte: a driver may hold it up for a while.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More than any answer.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Asks one zeusd.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: Agent,
    socket: PathBuf,
    token: Option<String>,
}

/// A request to zeusd failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// Nobody answered.
    #[error("zeusd at {socket} can't be reached: {source}")]
    Unreachable {
        /// Its socket.
        socket: String,
        /// What the system said.
        source: io::Error,
    },
    /// The answer took too long, or broke off.
    #[error("zeusd at {socket} did not answer: {said}")]
    NoAnswer {
        /// Its socket.
        socket: String,
        /// What went wrong.
        said: String,
    },
    /// zeusd refused.
    #[error("zeusd said {status}: {said}")]
    Refused {
        /// Status of HTTP.
        status: u16,
        /// zeusd's words.
        said: String,
    },
    /// The answer is not one of zeusd.
    #[error("zeusd answered {found:?}, expected {expected}")]
    Answer {
        /// The answer, shortened.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl RequestError {
    /// What to do about it, starting with `; `, or empty.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "; is zeusd running, and may this user write to its socket?",
            Self::NoAnswer { .. } => "; look at what zeusd logs, and restart it",
            Self::Refused { status: 401, .. } => {
                "; zeusd asks for a token with the scope gpu-control: issue one with `zeusd token issue` and give \
                 it as ZEUSD_TOKEN"
            }
            Self::Refused { status: 403, .. } => {
                "; run zeusd as root (in a container with CAP_SYS_ADMIN, for AMD with a writable /sys), or \
                 issue a token with the scope gpu-control"
            }
            Self::Refused { status: 404, .. } => {
                "; start zeusd with the API groups gpu-control and gpu-read enabled"
            }
            Self::Refused { .. } | Self::Answer { .. } => "",
        }
    }

    /// Whether zeusd does not serve this request to anyone, or not to us.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Refused { status: 401 | 403 | 404, .. })
    }
}

/// How zeusd tells what went wrong with each GPU.
#[derive(Deserialize)]
struct Errors {
    errors: BTreeMap<String, String>,
}

impl Client {
    pub(super) fn new(socket: &Path, token: Option<String>) -> Self {
        Self::with_timeout(socket, token, TIMEOUT)
    }

    fn with_timeout(socket: &Path, token: Option<String>, timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .proxy(None)
            .user_agent(concat!("wattle/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = Agent::with_parts(config, UnixConnector(socket.to_owned()), NoResolver);
        Self { agent, socket: socket.to_owned(), token }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// What zeusd answers to a question; `expected` says what that is, for the error.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        expected: &'static str,
    ) -> Result<T, RequestError> {
        let mut request = self.agent.get(format!("http://zeusd{path}"));
        for (key, value) in query {
            request = request.query(key, value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let text = self.answer(request.call())?;
        serde_json::from_str(&text).map_err(|_| RequestError::Answer { found: shortened(&text), expected })
    }

    /// Has zeusd do something, and waits until it is done.
    pub(super) fn post(&self, path: &str, query: &[(&str, String)]) -> Result<(), RequestError> {
        let mut request = self.agent.post(format!("http://zeusd{path}")).query("block", "true");
        for (key, value) in query {
            request = request.query(key, value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.answer(request.send_empty()).map(drop)
    }

    fn answer(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<String, RequestError> {
        let failed = |error: ureq::Error| {
            let socket = self.socket.display().to_string();
            match error {
                ureq::Error::Io(source) => RequestError::Unreachable { socket, source },
                other => RequestError::NoAnswer { socket, said: other.to_string() },
            }
        };
        let mut response = response.map_err(failed)?;
        let status = response.status();
        let text = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string();
        let text = text.map_err(failed)?;
        if status.is_success() {
            return Ok(text);
        }
        let said = match serde_json::from_str::<Errors>(&text) {
            Ok(Errors { errors }) => {
                let told: Vec<_> =
                    errors.into_iter().map(|(gpu, error)| format!("GPU {gpu}: {error}")).collect();
                told.join("; ")
            }
            Err(_) => shortened(&text),
        };
        Err(RequestError::Refused { status: status.as_u16(), said })
    }
}

/// The start of an answer: enough to tell what it is.
fn shortened(text: &str) -> String {
    text.trim().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_zeusd_that_never_answers_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("zeusd.sock");
        // Connections queue up, and nobody takes them.
        let _listener = UnixListener::bind(&socket).unwrap();
        let client = Client::with_timeout(&socket, None, Duration::from_millis(50));
        let error = client.get::<()>("/discover", &[], "anything").unwrap_err();
        assert!(matches!(error, RequestError::NoAnswer { .. }), "{error}");
        assert!(error.to_string().contains("did not answer: timeout"), "{error}");
        let error = client.post("/gpu/set_power_limit", &[]).unwrap_err();
        assert_eq!(error.hint(), "; look at what zeusd logs, and restart it");
    }
}
