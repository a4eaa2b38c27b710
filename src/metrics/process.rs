//! What the kernel knows of this process. Linux only; elsewhere there is nothing to read, and
//! nothing is told.

/// In kernel ticks; `USER_HZ` is 100 on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Process {
    pub resident: Option<u64>,
    /// User and system time in seconds.
    pub cpu: Option<f64>,
    pub fds: Option<u64>,
}

impl Process {
    pub fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).ok();
        Self {
            resident: file("/proc/self/status").as_deref().and_then(resident),
            cpu: file("/proc/self/stat").as_deref().and_then(cpu),
            // One of them is the directory that is being read.
            fds: std::fs::read_dir("/proc/self/fd").ok().map(|dir| (dir.count() as u64).saturating_sub(1)),
        }
    }
}

/// Not `statm`: that counts pages, whose size differs.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn cpu(stat: &str) -> Option<f64> {
    // The second field is the name, in parentheses, and may hold spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   12345 kB\nVmData:\t 1 kB\n"), Some(12345 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1234 0 0 0 250 50 0 0 20 0 9 0 12345 1 1";
        assert_eq!(cpu(stat), Some(3.0));
        assert_eq!(cpu("42"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_a_size() {
        let process = Process::read();
        assert!(process.resident.is_some_and(|bytes| bytes > 1 << 20), "{process:?}");
        assert!(process.cpu.is_some() && process.fds.is_some_and(|n| n >= 3), "{process:?}");
    }
}
