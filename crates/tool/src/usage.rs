//! What processes use: processor time, and memory by kind, as Linux tells it in `/proc`. Elsewhere nothing is known.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Time between two looks at memory, of which only the present is told.
const LOOK: Duration = Duration::from_millis(10);
/// Linux counts processor time in hundredths of a second, whatever its clock does.
const TICKS: f64 = 100.0;

/// What one process used while it was watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Seconds of processor time, of the program and of the system for it.
    pub cpu_seconds: f64,
    /// The most bytes of memory that were its own.
    pub anonymous: u64,
    /// The most bytes of files that were mapped and present.
    pub mapped: u64,
    /// How often a processor turned from one of its threads to another thread.
    #[serde(default)]
    pub switches: u64,
}

impl Usage {
    /// The most of each kind that any of these used.
    pub fn most(usages: &[Usage]) -> Self {
        usages.iter().fold(Usage::default(), |most, usage| Usage {
            cpu_seconds: most.cpu_seconds.max(usage.cpu_seconds),
            anonymous: most.anonymous.max(usage.anonymous),
            mapped: most.mapped.max(usage.mapped),
            switches: most.switches.max(usage.switches),
        })
    }
}

/// A process that is watched.
struct Watched {
    /// What it had used when that began: seconds, and each thread.
    began: (f64, BTreeMap<u32, [u64; 2]>),
    /// What it has used since.
    usage: Usage,
}

impl Watched {
    fn new(process: u32) -> Self {
        let began = (processor_time(process).unwrap_or(0.0), by_thread(process));
        Watched { began, usage: Usage::default() }
    }
}

/// Watches processes until it is dropped.
pub struct Watch {
    seen: Arc<Mutex<BTreeMap<u32, Watched>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches these processes from now on.
    pub fn start(processes: impl IntoIterator<Item = u32>) -> Self {
        let first = |process| (process, Watched::new(process));
        let seen = Arc::new(Mutex::new(processes.into_iter().map(first).collect::<BTreeMap<_, _>>()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (seen.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                look(&shared);
                std::thread::sleep(LOOK);
            }
        });
        Watch { seen, stop, thread: Some(thread) }
    }

    /// Watches one more.
    pub fn add(&self, process: u32) {
        self.seen.lock().expect("a thread has panicked while it held this lock").insert(process, Watched::new(process));
    }

    /// Watches one less.
    pub fn forget(&self, process: u32) {
        self.seen.lock().expect("a thread has panicked while it held this lock").remove(&process);
    }

    /// What a process has used so far; nothing if it was not watched.
    pub fn usage(&self, process: u32) -> Option<Usage> {
        look(&self.seen);
        let mut seen = self.seen.lock().expect("a thread has panicked while it held this lock");
        let Watched { began: (_, before), usage } = seen.get_mut(&process)?;
        // To look at every thread takes longer than the rest: it is not done all the time. A process that has ended has no threads.
        let [_, switches] = used_between(before, &by_thread(process));
        usage.switches = usage.switches.max(switches);
        Some(*usage)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(seen: &Mutex<BTreeMap<u32, Watched>>) {
    for (&process, Watched { began: (before, _), usage }) in
        &mut *seen.lock().expect("a thread has panicked while it held this lock")
    {
        if let Some(now) = processor_time(process) {
            usage.cpu_seconds = now - *before;
        }
        let Some([anonymous, mapped]) = memory(process) else { continue };
        usage.anonymous = usage.anonymous.max(anonymous);
        usage.mapped = usage.mapped.max(mapped);
    }
}

/// Bytes of memory that a process has now: its own, and of files that are mapped and present.
pub fn memory(process: u32) -> Option<[u64; 2]> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some([bytes(&status, "RssAnon:").unwrap_or(0), bytes(&status, "RssFile:").unwrap_or(0)])
}

/// Bytes of memory of its own that a process has now; 0 if that is not known.
pub fn own_memory(process: u32) -> f64 {
    memory(process).map_or(0.0, |[own, _]| own as f64)
}

/// Files, sockets and the like that a process has open.
pub fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// Threads of a process.
pub fn threads(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count)
}

/// The most bytes of memory that this process has used.
pub fn most_memory() -> Option<u64> {
    most_memory_of(std::process::id())
}

/// The most bytes of memory that a process has used so far.
pub fn most_memory_of(process: u32) -> Option<u64> {
    bytes(&fs::read_to_string(format!("/proc/{process}/status")).ok()?, "VmHWM:")
}

fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Seconds of processor time that a process has used.
pub fn processor_time(process: u32) -> Option<f64> {
    times(&format!("/proc/{process}/stat")).map(|[own, _]| own)
}

/// Seconds of processor time of all processes that we started and that have ended.
pub fn of_ended_children() -> f64 {
    times("/proc/self/stat").map_or(0.0, |[_, children]| children)
}

/// Of a process, and of its children that have ended.
fn times(path: &str) -> Option<[f64; 2]> {
    let stat = fs::read_to_string(path).ok()?;
    // The name, in parentheses, may hold anything; what follows it does not.
    let fields: Vec<u64> =
        stat.rsplit(')').next()?.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let seconds = |at: usize| Some((fields.get(at)? + fields.get(at + 1)?) as f64 / TICKS);
    Some([seconds(11)?, seconds(13)?])
}

/// What each thread of a process has used so far, by its number: nanoseconds, and how often a processor turned from it to another.
/// [`processor_time`] counts hundredths of a second, which is too coarse for a process that does next to nothing.
pub fn by_thread(process: u32) -> BTreeMap<u32, [u64; 2]> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let used = threads.filter_map(|thread| {
        let ran = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let ran = ran.split_whitespace().next()?.parse().ok()?;
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        Some((thread.file_name().to_str()?.parse().ok()?, [ran, switches(&status)]))
    });
    used.collect()
}

/// What was used between two looks, by the threads that were there at the second.
pub fn used_between(before: &BTreeMap<u32, [u64; 2]>, now: &BTreeMap<u32, [u64; 2]>) -> [u64; 2] {
    now.iter().fold([0; 2], |sum, (thread, used)| {
        let before = before.get(thread).copied().unwrap_or_default();
        [0, 1].map(|at| sum[at] + used[at].saturating_sub(before[at]))
    })
}

/// Those that a thread waited for, and those that it did not.
fn switches(status: &str) -> u64 {
    let counts = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
    counts.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
}

/// How often this machine's processors turned from one thread to another since it started; 0 if that is not known.
pub fn context_switches() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    stat.lines().find_map(|line| line.strip_prefix("ctxt ")).and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Hundredths of a second that this machine's processors have worked since it started, and that there were of them in all.
pub fn processors() -> Option<[u64; 2]> {
    // The host of a virtual machine may have taken some, which are spent all the same.
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let times: Vec<u64> = stat.lines().next()?.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
    let all: u64 = times.iter().sum();
    Some([all - times.get(3)? - times.get(4)?, all])
}

/// Datagrams that this machine had no room for since it started: over loopback, all that are lost.
pub fn datagrams_lost() -> u64 {
    let count = |path: &str, name: &str, split: bool| {
        let text = fs::read_to_string(path).unwrap_or_default();
        if split {
            let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
            let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            let at = names.split_whitespace().position(|field| field == name)?;
            return values.split_whitespace().nth(at)?.parse::<u64>().ok();
        }
        text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    };
    count("/proc/net/snmp", "RcvbufErrors", true).unwrap_or(0)
        + count("/proc/net/snmp6", "Udp6RcvbufErrors", false).unwrap_or(0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_show() {
        let own = std::process::id();
        let watch = Watch::start([own]);
        let block = vec![1u8; 32 << 20];
        let began = std::time::Instant::now();
        let mut sum = 0u64;
        while began.elapsed() < Duration::from_millis(60) {
            sum += block.iter().step_by(4096).map(|&byte| u64::from(byte)).sum::<u64>();
        }
        assert!(sum > 0);
        let usage = watch.usage(own).unwrap();
        assert!(usage.anonymous >= 32 << 20, "{usage:?}");
        assert!(usage.cpu_seconds > 0.0, "{usage:?}");
        let used = by_thread(own);
        assert!(used.values().all(|[ran, _]| *ran > 0), "{used:?}");
        let ended = BTreeMap::from([(1, [50, 7]), (2, [30, 3])]);
        assert_eq!(used_between(&ended, &BTreeMap::from([(2, [31, 5]), (3, [2, 1])])), [3, 3]);
        assert_eq!(watch.usage(1).is_some(), own == 1);
        assert_eq!(switches("Name:\tx\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n"), 7);
        std::thread::sleep(Duration::from_millis(1));
        assert!(watch.usage(own).unwrap().switches > 0);
        let before = context_switches();
        std::thread::sleep(Duration::from_millis(1));
        assert!(context_switches() > before);
        let [busy, all] = processors().unwrap();
        assert!(busy > 0 && busy < all);
    }
}
