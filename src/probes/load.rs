//! How busy this host is, for whoever looks at its workers.

use procfs::{Current as _, LoadAverage, Meminfo};

/// The load average of one minute in thousandths, and the memory that could be had, MiB; what cannot be told is none.
#[must_use]
pub fn now() -> (Option<u64>, Option<u64>) {
    let load = LoadAverage::current().ok().map(|load| f64::from(load.one) * 1000.0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is small and no less than 0"
    )]
    let load = load.map(|milli| milli.round() as u64);
    let memory = Meminfo::current().ok().and_then(|memory| memory.mem_available);
    (load, memory.map(|bytes| bytes >> 20))
}

/// How many processes the kernel has killed for memory since the boot, on this host or in a cgroup of it (`oom_kill` of
/// /proc/vmstat, Linux 4.13).
#[must_use]
pub fn out_of_memory() -> Option<u64> {
    procfs::vmstat().ok()?.get("oom_kill").and_then(|it| u64::try_from(*it).ok())
}

/// All the memory of this host, MiB.
#[must_use]
pub fn memory_mib() -> Option<u64> {
    Meminfo::current().ok().map(|memory| memory.mem_total >> 20)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_host_has_memory_and_no_more_to_give_than_it_has() {
        let (load, free) = super::now();
        assert!(load.is_some() && free <= super::memory_mib());
        assert!(super::out_of_memory().is_some());
    }
}
