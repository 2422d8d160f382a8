//! Programs that keep logins for registries (`docker-credential-NAME get`): one is asked on its standard input, and answers in JSON.

use std::process::Command;

use serde::Deserialize;

use super::credentials::Credentials;
use crate::program::{DEADLINE, ask};

/// In place of a user's name, it says that what follows is no password but an identity token.
const TOKEN: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The login that a helper has for a registry.
pub(super) fn login(helper: &str, server: &str) -> Option<Credentials> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if helper.is_empty() || !helper.bytes().all(is_plain) {
        tracing::warn!(helper, "there is no helper program of such a name for the logins of registries");
        return None;
    }
    let program = format!("docker-credential-{helper}");
    match ask(Command::new(&program).arg("get"), server, DEADLINE) {
        Ok(answer) => read(&answer).or_else(|| {
            tracing::warn!(
                program,
                server,
                "the credential helper has no login for this registry that can be used here"
            );
            None
        }),
        Err(reason) => {
            tracing::warn!(program, server, "no login for this registry: the credential helper {reason}");
            None
        }
    }
}

fn read(answer: &[u8]) -> Option<Credentials> {
    let HelperAnswer { username, secret } = serde_json::from_slice(answer).ok()?;
    if username == TOKEN {
        return (!secret.is_empty()).then_some(Credentials::Identity(secret));
    }
    let is_login = !username.is_empty() && !username.contains(':');
    let basic = || Credentials::Basic(data_encoding::BASE64.encode(format!("{username}:{secret}").as_bytes()));
    is_login.then(basic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_name_and_a_password() {
        let of = |text: &str| read(text.as_bytes());
        let basic = Credentials::Basic("YTpi".to_owned());
        assert_eq!(of(r#"{"ServerURL": "ghcr.io", "Username": "a", "Secret": "b"}"#), Some(basic));
        let identity = Credentials::Identity("b".to_owned());
        assert_eq!(of(r#"{"Username": "<token>", "Secret": "b"}"#), Some(identity));
        for text in
            [r#"{"Username": "<token>", "Secret": ""}"#, r#"{"Username": "a:b", "Secret": "b"}"#, "not found", ""]
        {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(login("../x", "ghcr.io"), None);
    }
}
