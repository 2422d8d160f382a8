//! Programs that keep logins for registries (`docker-credential-NAME get`): one is asked on its standard input, and answers in JSON. It may
//! hang, ask somebody, or write without an end, so that its time and its answer are bounded.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::credentials::Credentials;

/// How long one may take: it may ask a service on the web.
const DEADLINE: Duration = Duration::from_secs(15);
/// And how long until it ends, when it has answered.
const ENDS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);
/// Most bytes of an answer.
const LONGEST: u64 = 64 << 10;
/// In place of a user's name, it says that what follows is no password but an identity token.
const TOKEN: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
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

/// What a program answers to a line.
fn ask(command: &mut Command, line: &str, deadline: Duration) -> Result<Vec<u8>, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let (tell, told) = mpsc::channel();
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let line = format!("{line}\n");
    let listener = thread::Builder::new().spawn(move || {
        // One that does not read what it is asked may answer all the same.
        input.and_then(|mut input| input.write_all(line.as_bytes()).ok());
        let mut answer = Vec::new();
        let read = output.map(|output| output.take(LONGEST + 1).read_to_end(&mut answer));
        let _ = tell.send(matches!(read, Some(Ok(_))).then_some(answer));
    });
    if let Err(error) = listener {
        end(&mut child);
        return Err(format!("cannot be asked: {error}"));
    }
    let answer = told.recv_timeout(deadline).map_err(|_| {
        end(&mut child);
        format!("does not answer within {}", humantime::format_duration(deadline))
    })?;
    let answer = answer.filter(|answer| answer.len() as u64 <= LONGEST);
    let Some(answer) = answer else {
        end(&mut child);
        return Err("answers with too much, or not at all".to_owned());
    };
    // What has closed its output is about to end.
    let until = Instant::now() + ENDS;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(answer),
            Ok(None) if Instant::now() < until => thread::sleep(LOOK),
            Ok(Some(_)) => return Err("has none".to_owned()),
            Ok(None) | Err(_) => {
                end(&mut child);
                return Err("does not end".to_owned());
            }
        }
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn read(answer: &[u8]) -> Option<Credentials> {
    let Answer { username, secret } = serde_json::from_slice(answer).ok()?;
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

    #[cfg(unix)]
    #[test]
    fn a_program_that_hangs_fails_or_floods_is_left() {
        let of = |script: &str, deadline| ask(Command::new("sh").args(["-c", script]), "ghcr.io", deadline);
        let long = Duration::from_secs(60);
        assert_eq!(of("read line; echo \"for $line\"", long).unwrap(), b"for ghcr.io\n");
        assert!(of("echo none; exit 1", long).unwrap_err().contains("has none"));
        assert!(of("yes", long).unwrap_err().contains("too much"));
        assert!(of("exec sleep 100", Duration::from_millis(50)).unwrap_err().contains("does not answer"));
    }
}
