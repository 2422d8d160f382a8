//! Processor time and memory of this process, under the names that Prometheus's own clients give them. Linux tells both in files.

use crate::metric::{Metric, Unit, Value};

/// What is known of this process.
pub(crate) fn metrics() -> Vec<Metric> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let memory = resident(&status).map(|bytes| {
        let help = "Memory that this process has resident";
        Metric::new("process_resident_memory", help, Some(Unit::Bytes), Value::Gauge(bytes as f64))
    });
    let cpu = ticks(&stat).map(|ticks| {
        let help = "Processor time that this process has used";
        Metric::new("process_cpu", help, Some(Unit::Seconds), Value::Seconds(ticks as f64 / TICKS_A_SECOND))
    });
    memory.into_iter().chain(cpu).collect()
}

/// `USER_HZ`: what Linux shows to programs counts in hundredths on every machine that these programs run on.
const TICKS_A_SECOND: f64 = 100.0;

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Time in user mode and in the kernel; the name in brackets may have spaces.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(resident("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!((ticks(""), resident("")), (None, None));
    }
}
