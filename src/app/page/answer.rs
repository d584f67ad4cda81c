//! Which request gets which answer, and which gets none.

use std::{net::IpAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    header::{self, HeaderValue},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{
    events::{Events, Seats},
    metrics,
};
use crate::{
    app::status::{Status, Told},
    base::Advice,
};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The body of an answer: all of it, or events as they come.
pub(super) type Body = Either<Full<Bytes>, Events>;

/// What answers.
#[derive(Debug)]
pub(super) struct Answering {
    latest: watch::Receiver<Arc<Status>>,
    token: Option<Zeroizing<String>>,
    words: fn(&Advice) -> String,
    page: Bytes,
    policy: HeaderValue,
    /// Who looks at the page.
    pub(super) seats: Seats,
}

impl Answering {
    pub(super) fn new(
        latest: watch::Receiver<Arc<Status>>,
        token: Option<Zeroizing<String>>,
        words: fn(&Advice) -> String,
    ) -> Self {
        let page = HTML.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
        // Nothing runs in the page but its own script, whatever a name may hold, and it talks to nobody but this node.
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(SCRIPT),
            hash(STYLE)
        );
        let policy = HeaderValue::try_from(policy).expect("letters and digits");
        Answering { latest, token, words, page: page.into(), policy, seats: Seats::default() }
    }

    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let mut response = self.choose(request);
        let headers = response.headers_mut();
        let mut say = |name, value: &'static str| _ = headers.insert(name, HeaderValue::from_static(value));
        say(header::CACHE_CONTROL, "no-store");
        say(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        // The address may hold the token.
        say(header::REFERRER_POLICY, "no-referrer");
        say(header::X_FRAME_OPTIONS, "DENY");
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }

    fn choose<B>(&self, request: &Request<B>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only looking is possible: GET\n");
        }
        if !self.is_asked_for(request) {
            return plain(StatusCode::MISDIRECTED_REQUEST, TEXT, "ask by an address in numbers, or as localhost\n");
        }
        let status = self.latest.borrow().clone();
        match request.uri().path() {
            "/healthz" => return plain(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => {
                return match status.node.complete {
                    true => plain(StatusCode::OK, TEXT, "everything is here and checked\n"),
                    false => plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not everything is here and checked yet\n"),
                };
            }
            _ => {}
        }
        if !self.may_see(request) {
            let words = "open the whole address that the node told, with its token\n";
            return plain(StatusCode::UNAUTHORIZED, TEXT, words);
        }
        match request.uri().path() {
            "/" => plain(StatusCode::OK, "text/html; charset=utf-8", self.page.clone()),
            "/api/v1/status" => match serde_json::to_vec(&Told::new(&status, self.words)) {
                Ok(text) => plain(StatusCode::OK, JSON, text),
                Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the status cannot be written as JSON\n"),
            },
            "/api/v1/events" => match self.seats.take() {
                Some(seat) => {
                    let seat = Arc::new(seat);
                    let events = Events::new(seat.clone(), self.latest.clone(), self.words);
                    let mut response = Response::new(Either::Right(events));
                    response.extensions_mut().insert(seat);
                    let kind = HeaderValue::from_static("text/event-stream");
                    response.headers_mut().insert(header::CONTENT_TYPE, kind);
                    response
                }
                None => plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many look at this page already\n"),
            },
            "/metrics" => plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::text(&status)),
            _ => plain(StatusCode::NOT_FOUND, TEXT, "/, /api/v1/status, /api/v1/events, /metrics, /healthz, /readyz\n"),
        }
    }

    /// A page of a stranger whose name was made to lead here has that name in its requests. With a token it has no use; without one,
    /// only names that cannot be made to lead elsewhere are taken.
    fn is_asked_for<B>(&self, request: &Request<B>) -> bool {
        // Two names, or one more in the request's line, are nobody's who means this node.
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let Ok(host) = host.to_str() else { return false };
        if request.uri().authority().is_some_and(|named| named.as_str() != host) {
            return false;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let number = name.trim_start_matches('[').trim_end_matches(']');
        self.token.is_some() || name.eq_ignore_ascii_case("localhost") || number.parse::<IpAddr>().is_ok()
    }

    fn may_see<B>(&self, request: &Request<B>) -> bool {
        let Some(token) = &self.token else { return true };
        let query = request.uri().query().unwrap_or_default();
        let in_address = query.split('&').find_map(|part| part.strip_prefix("token="));
        let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = in_address.or(bearer.and_then(|value| value.strip_prefix("Bearer ")));
        given.is_some_and(|given| bool::from(given.as_bytes().ct_eq(token.as_bytes())))
    }
}

fn plain(code: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(text.into())));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
