//! How far one piece of work is that a command does by itself, as `hash` and `verify` do: a row on standard error while it runs.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use settings::Signals;
use settings::terminal::{in_background, takes_codes};

use crate::lock::lock;
use crate::ui::letters;
use crate::ui::pace::Meter;
use crate::ui::paint::size;
use crate::ui::row::{Bar, Label, Row};
use crate::ui::screen::complain;
use crate::ui::signals::code;

/// Time between two looks.
const AGAIN: Duration = Duration::from_millis(100);

/// Counts bytes of one piece of work on the last line of standard error, if that is a terminal; gone when it is dropped.
pub struct Counter {
    label: String,
    /// None if nobody watches.
    drawn: Option<Arc<Mutex<Drawn>>>,
}

#[derive(Default)]
struct Drawn {
    last: Option<Instant>,
    meter: Meter,
}

impl Counter {
    /// Of what is done to a file.
    pub fn new(what: &str, file: &Path) -> Self {
        let drawn = is_drawn();
        let label = protocol::printable(&format!("{what} {}", file.display()));
        let drawn = drawn.then(Arc::<Mutex<Drawn>>::default);
        if let Some(drawn) = drawn.clone() {
            clear_when_stopped(drawn);
        }
        Counter { label, drawn }
    }

    /// Takes how many bytes are done, and of how many.
    pub fn show(self) -> impl Fn(u64, u64) + Sync {
        move |done, size_in_all| {
            let Some(drawn) = self.drawn.as_ref().filter(|_| !in_background()) else { return };
            let mut drawn = lock(drawn);
            let now = Instant::now();
            if drawn.last.is_some_and(|then| now - then < AGAIN) {
                return;
            }
            drawn.last = Some(now);
            let pace = drawn.meter.pace(now, done, size_in_all);
            let label = Label::Name(self.label.clone());
            let bar = Bar { label, done, size: size_in_all, pace, note: None, peers: None, drawn: true };
            let line = letters::on_terminal(Row::Bar(bar).line(size().0));
            let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            clear();
        }
    }
}

/// Says something in the place of the row, which comes again below it.
pub fn say(line: &str) {
    if is_drawn() {
        clear();
    }
    complain(line);
}

fn is_drawn() -> bool {
    std::io::stderr().is_terminal() && takes_codes()
}

fn clear() {
    if !in_background() {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

/// A signal ends the program, and no row stays that looks as if it went on. Nothing is drawn before signals are heard.
fn clear_when_stopped(drawn: Arc<Mutex<Drawn>>) {
    let (listens, listening) = mpsc::channel();
    let hear = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let mut signals = Signals::listen();
            let _ = listens.send(());
            let signal = signals.next().await;
            // Held until the end: nothing is drawn again.
            let _drawn = lock(&drawn);
            clear();
            std::process::exit(code(signal) as i32);
        });
    };
    // Where the system grants no thread, the row stays.
    let _ = std::thread::Builder::new().spawn(hear);
    let _ = listening.recv();
}
