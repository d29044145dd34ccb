//! What the kernel says about a process.

use std::fs;
use std::time::{Duration, Instant};

use super::{SOON, wait_for};

/// Processes that this one has made and that live, the oldest first.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let mut children: Vec<u32> = list
        .expect("a process of ours")
        .split_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect();
    children.sort_unstable();
    children
}

/// Whether there is such a process that has not ended.
pub(crate) fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !"ZX".contains(state))
}

/// Open descriptors.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("a process of ours")
        .count()
}

/// Descriptors that would be inherited by a program which this process starts, with what they are.
pub(crate) fn inheritable_descriptors(pid: u32) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours") {
        let name = entry
            .expect("readable")
            .file_name()
            .into_string()
            .expect("a number");
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{name}"));
        let target = fs::read_link(format!("/proc/{pid}/fd/{name}"));
        let (Ok(info), Ok(target)) = (info, target) else {
            // Closed since it was listed.
            continue;
        };
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .and_then(|flags| u64::from_str_radix(flags.trim(), 8).ok())
            .unwrap_or(0);
        if flags & libc::O_CLOEXEC as u64 == 0 {
            found.push(format!("{name} -> {}", target.display()));
        }
    }
    found.sort();
    found
}

/// Sockets of the process's network that are members of an IPv4 group on an interface, as
/// `/proc/net/igmp` counts them.
pub(crate) fn igmp_users(pid: u32, interface: &str, group: [u8; 4]) -> u32 {
    let table = fs::read_to_string(format!("/proc/{pid}/net/igmp")).expect("a process of ours");
    // The group is shown as a number in the byte order of the machine.
    let wanted = format!("{:08X}", u32::from_ne_bytes(group));
    let mut current = "";
    for line in table.lines().skip(1) {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or("");
        if first.bytes().all(|byte| byte.is_ascii_digit()) {
            current = words.next().unwrap_or("").trim_end_matches(':');
        } else if current == interface && first == wanted {
            return words
                .next()
                .and_then(|users| users.parse().ok())
                .expect("a count");
        }
    }
    0
}

/// The same for IPv6, from `/proc/net/igmp6`.
pub(crate) fn mld_users(pid: u32, interface: &str, group: std::net::Ipv6Addr) -> u32 {
    let table = fs::read_to_string(format!("/proc/{pid}/net/igmp6")).expect("a process of ours");
    let wanted: String = group
        .octets()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.get(1) == Some(&interface) && words.get(2) == Some(&&*wanted))
        .map_or(0, |words| words[3].parse().expect("a count"))
}

/// Source filters of IPv4 memberships: interface, group, source.
pub(crate) fn igmp_sources(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/net/mcfilter")).expect("a process of ours")
}

/// The first child of the process, if it has one.
pub(crate) fn child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("a process of ours");
    children.split_whitespace().next()?.parse().ok()
}

/// What the kernel tells of the process, a line for each thing.
pub(crate) fn status(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of ours")
}

/// Memory of the process's own that is present.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = status(pid);
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes
        .and_then(|text| text.parse::<u64>().ok())
        .expect("a size")
        << 10
}

/// How many descriptors a process of ours may have if it raises its own limit as far as it may.
pub(crate) fn descriptor_limit() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").expect("limits of our own");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1));
    match hard.expect("a limit") {
        "unlimited" => u64::MAX,
        number => number.parse().expect("a number"),
    }
}

/// Signals the process ignores, as a bit mask.
pub(crate) fn ignored_signals(pid: u32) -> u64 {
    let status = status(pid);
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("hexadecimal")
}

/// Waits until the process has not been woken up for so long.
pub(crate) fn wait_for_rest(pid: u32, rest: Duration) {
    let mut seen = (context_switches(pid), Instant::now());
    wait_for(SOON + 2 * rest, "the process to come to rest", || {
        let switches = context_switches(pid);
        if switches != seen.0 {
            seen = (switches, Instant::now());
        }
        (seen.1.elapsed() >= rest).then_some(())
    });
}

/// How often threads of the process have been put to sleep or interrupted.
fn context_switches(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process of ours");
    let mut sum = 0;
    for task in tasks {
        let path = task.expect("readable").path().join("status");
        let status = fs::read_to_string(path).unwrap_or_default();
        sum += status
            .lines()
            .filter_map(|line| line.split_once("_ctxt_switches:"))
            .filter_map(|(_, count)| count.trim().parse::<u64>().ok())
            .sum::<u64>();
    }
    sum
}
