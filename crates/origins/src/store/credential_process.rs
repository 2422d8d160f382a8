//! Credentials for S3 that a program gives, where a profile names one (`credential_process`). It is run when they are needed, and again
//! before they expire.

use std::fmt;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use object_store::aws::AwsCredential;
use object_store::{CredentialProvider, Error, Result};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::program::{DEADLINE, ask};

/// In place of an object's path, this says that no store was asked.
pub(super) const NOT_ASKED: &str = "credential_process";
/// Credentials are renewed so long before they expire.
const EARLY: Duration = Duration::from_secs(300);
/// A program that has failed is not run again for so long.
const AGAIN: Duration = Duration::from_secs(10);

/// A program, and what it gave last.
pub(super) struct CredentialProcess {
    words: Vec<String>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    given: Option<Given>,
    failed: Option<(Instant, String)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Given {
    credential: Arc<AwsCredential>,
    /// For ever, if it says nothing.
    expires: Option<SystemTime>,
}

impl Given {
    /// Whether it will be good for so long.
    fn is_good_for(&self, time: Duration) -> bool {
        self.expires.is_none_or(|expires| SystemTime::now() + time < expires)
    }
}

impl CredentialProcess {
    /// What a profile says; nothing if there is no program in it.
    pub(super) fn new(line: &str) -> Option<Self> {
        let words = words(line);
        (!words.is_empty()).then(|| CredentialProcess { words, last: Mutex::default() })
    }

    async fn get(&self) -> std::result::Result<Given, String> {
        let mut last = self.last.lock().await;
        if let Some(given) = last.given.as_ref().filter(|given| given.is_good_for(EARLY)) {
            return Ok(given.clone());
        }
        let failed = match &last.failed {
            Some((at, reason)) if at.elapsed() < AGAIN => reason.clone(),
            _ => {
                let words = self.words.clone();
                let running =
                    spawn_blocking(move || read(&ask(Command::new(&words[0]).args(&words[1..]), "", DEADLINE)?));
                match running.await.unwrap_or_else(|_| Err("was not run".to_owned())) {
                    Ok(given) => {
                        *last = Last { given: Some(given.clone()), failed: None };
                        return Ok(given);
                    }
                    Err(reason) => {
                        let reason = format!("the program of the profile's credential_process {reason}");
                        last.failed = Some((Instant::now(), reason.clone()));
                        reason
                    }
                }
            }
        };
        last.given.clone().filter(|given| given.is_good_for(Duration::ZERO)).ok_or(failed)
    }
}

/// Without its words, which may have secrets in them.
impl fmt::Debug for CredentialProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialProcess(…)")
    }
}

impl CredentialProvider for CredentialProcess {
    type Credential = AwsCredential;

    fn get_credential<'s, 'f>(&'s self) -> BoxFuture<'f, Result<Arc<AwsCredential>>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let failed = |reason: String| Error::Unauthenticated { path: NOT_ASKED.to_owned(), source: reason.into() };
            self.get().await.map(|given| given.credential).map_err(failed)
        })
    }
}

/// The words of a command line. No shell reads it: those with spaces are in quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (character, quote) {
            (_, Some(open)) if character == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (_, None) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProcessAnswer {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

fn read(answer: &[u8]) -> std::result::Result<Given, String> {
    let unfit = |what: &str| format!("answers {what}");
    let answer: ProcessAnswer = serde_json::from_slice(answer).map_err(|_| unfit("with no credentials"))?;
    if answer.version != 1 {
        return Err(unfit("in a version that is not known here"));
    }
    let expires = match &answer.expiration {
        Some(text) => Some(time(text).ok_or_else(|| unfit("with a time that cannot be read"))?),
        None => None,
    };
    let ProcessAnswer { access_key_id: key_id, secret_access_key: secret_key, session_token: token, .. } = answer;
    Ok(Given { credential: Arc::new(AwsCredential { key_id, secret_key, token }), expires })
}

/// A time as RFC 3339 writes it, in any zone.
fn time(text: &str) -> Option<SystemTime> {
    let (local, zone) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let (hours, minutes) = match zone.get(1..)?.split_once(':') {
        Some(zone) if text.ends_with(|last: char| last.is_ascii_digit()) => zone,
        _ => return humantime::parse_rfc3339(text).ok(),
    };
    let offset = Duration::from_secs(hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60);
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    match zone.as_bytes()[0] {
        b'+' => local.checked_sub(offset),
        b'-' => local.checked_add(offset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_words() {
        let of = |line: &str| words(line);
        assert_eq!(of("  aws  configure --profile 'a b'\t"), ["aws", "configure", "--profile", "a b"]);
        assert_eq!(of(r#""C:\Program Files\x.exe" "" a"b"'c'"#), [r"C:\Program Files\x.exe", "", "abc"]);
        assert!(of(" ").is_empty() && CredentialProcess::new("").is_none());
    }

    #[test]
    fn times_are_read_in_any_zone() {
        let utc = humantime::parse_rfc3339("2026-05-19T15:00:00Z").unwrap();
        for text in [
            "2026-05-19T15:00:00Z",
            "2026-05-19T15:00:00+00:00",
            "2026-05-19T17:30:00+02:30",
            "2026-05-19T08:00:00-07:00",
        ] {
            assert_eq!(time(text), Some(utc), "{text}");
        }
        for text in ["", "tomorrow", "2026-05-19T15:00:00", "2026-05-19", "é+00:00"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn an_answer_has_credentials_and_when_they_expire() {
        let given = read(br#"{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b"}"#).unwrap();
        let credential = AwsCredential { key_id: "a".to_owned(), secret_key: "b".to_owned(), token: None };
        assert_eq!(given, Given { credential: Arc::new(credential), expires: None });
        for (text, expected) in [
            ("secret", "no credentials"),
            (r#"{"Version": 1}"#, "no credentials"),
            (r#"{"Version": 2, "AccessKeyId": "a", "SecretAccessKey": "secret"}"#, "version"),
            (r#"{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "secret", "Expiration": "x"}"#, "time"),
        ] {
            let reason = read(text.as_bytes()).unwrap_err();
            assert!(reason.contains(expected) && !reason.contains("secret"), "{reason}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_program_is_run_again_before_what_it_gave_expires() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let answer = |expires: SystemTime| {
            let expires = humantime::format_rfc3339_seconds(expires);
            format!(r#"{{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "{expires}"}}"#)
        };
        let script = folder.path().join("script");
        let put = |text: &str| std::fs::write(&script, format!("echo >> {}\n{text}", runs.display())).unwrap();
        let process = CredentialProcess::new(&format!("sh \"{}\"", script.display())).unwrap();
        let count = || std::fs::read(&runs).unwrap().len();
        let (soon, late) = (SystemTime::now() + EARLY / 2, SystemTime::now() + EARLY * 2);
        put("exit 1");
        for _ in 0..2 {
            let Err(Error::Unauthenticated { path, source }) = process.get_credential().await else { panic!() };
            assert!(path == NOT_ASKED && source.to_string().contains("has none"), "{source}");
        }
        assert_eq!(count(), 1, "it is not run again and again");
        process.last.lock().await.failed = None;
        put(&format!("echo '{}'", answer(soon)));
        assert_eq!(process.get_credential().await.unwrap().key_id, "a");
        // What there is holds for a while yet.
        put("exit 1");
        assert_eq!(process.get_credential().await.unwrap().key_id, "a");
        process.last.lock().await.failed = None;
        put(&format!("echo '{}'", answer(late)));
        for _ in 0..2 {
            process.get_credential().await.unwrap();
        }
        assert_eq!(count(), 4);
    }
}
