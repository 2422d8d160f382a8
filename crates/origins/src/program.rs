//! Programs that have credentials. One may hang, ask somebody, or write without an end, so that its time and its answer are bounded.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long one may take: it may ask a service on the web.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);
/// And how long until it ends, when it has answered.
const ENDS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);
/// Most bytes of an answer.
const LONGEST: u64 = 64 << 10;

/// What a program answers to a line. Blocks.
pub(crate) fn ask(command: &mut Command, line: &str, deadline: Duration) -> Result<Vec<u8>, String> {
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

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
