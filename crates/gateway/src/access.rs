//! Who is answered: those who name this gateway, come from no page of another site, and know its token if it has one.
//!
//! Nothing of an answer can be read by another site (no CORS) or embedded (`Cross-Origin-Resource-Policy`); but a request may begin a
//! download, so it is refused before that.

use std::net::IpAddr;
use std::time::SystemTime;

use axum::http::request::Parts;
use http_access::{Token, is_of_another_site, names_this_machine};

use crate::error::Refusal;
use crate::s3::signature::{self, is_below};

/// Who is answered.
#[derive(Debug)]
pub(crate) struct Access {
    /// Names and addresses of this machine, in small letters, beside `localhost` and the address that is dialled.
    pub(crate) hosts: Vec<String>,
    pub(crate) token: Option<Token>,
}

impl Access {
    /// Whether a request is answered at all.
    pub(crate) fn check(&self, request: &Parts, dialled: IpAddr) -> Result<(), Refusal> {
        if !names_this_machine(&request.headers, &request.uri, dialled, &self.hosts) {
            return Err(Refusal::Host);
        }
        if is_of_another_site(&request.headers) {
            return Err(Refusal::Site);
        }
        match &self.token {
            Some(token) if !token.is_in(&request.headers) => has_signed(token, request),
            _ => Ok(()),
        }
    }
}

/// Refuses a request without the token, unless it is one as to an object store that is signed with it.
fn has_signed(token: &Token, request: &Parts) -> Result<(), Refusal> {
    match is_below(request.uri.path()) {
        true => signature::check(request, token.text(), SystemTime::now()),
        false => Err(Refusal::Unauthorized),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn the_host_the_site_and_the_token_count() {
        let access = Access { hosts: vec!["models.example".to_owned()], token: Token::new("0123456789abcdef").ok() };
        let check = |headers: &[(&str, &str)]| {
            let request = headers
                .iter()
                .fold(Request::builder().uri("/"), |request, (name, value)| request.header(*name, *value));
            access.check(&request.body(()).unwrap().into_parts().0, "127.0.0.1".parse().unwrap())
        };
        let (host, token) = (("host", "models.example"), ("authorization", "Bearer 0123456789abcdef"));
        assert_eq!(check(&[host, token]), Ok(()));
        assert_eq!(check(&[("host", "evil.example"), token]), Err(Refusal::Host));
        assert_eq!(check(&[host, token, ("sec-fetch-site", "cross-site")]), Err(Refusal::Site));
        assert_eq!(check(&[host]), Err(Refusal::Unauthorized));
    }
}
