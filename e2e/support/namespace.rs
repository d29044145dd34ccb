//! Networks of our own: loopback and two links, on which nobody else sends.
//!
//! A network namespace belongs to a thread, and the children of that thread are born into it. So a test runs
//! in a thread of its own that has left the machine's network; the namespace is gone when the last of them
//! ends. Without privilege the test program runs itself again inside a user namespace, where it has it.
//!
//! `west` and `east` are links whose far ends nobody listens on; what is sent on one of them reaches the
//! members on the same link as the kernel's own copy. Groups are routed to `west`. The links take the largest
//! datagrams whole, because the queue between sender and members is the processor's, counts packets, and is
//! shared with all tests that run at the same time. It may be full all the same on a busy machine. The kernel counts
//! what it loses there, and a test that failed while it did is run again: such a failure says nothing.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

use super::{skip, tool};

pub(crate) const WEST: &str = "10.1.0.1";
pub(crate) const WEST_OTHER: &str = "10.1.0.2";
pub(crate) const EAST: &str = "10.2.0.1";
pub(crate) const WEST_V6: &str = "fd00:1::1";
pub(crate) const WEST_OTHER_V6: &str = "fd00:1::2";

const LINKS: &str = "\
link set lo up
link add west type veth peer name west-far
link add east type veth peer name east-far
link set west addrgenmode none
link set east addrgenmode none
link set west-far addrgenmode none
link set east-far addrgenmode none
link set west mtu 65535 up
link set east mtu 65535 up
link set west-far mtu 65535 up
link set east-far mtu 65535 up
addr add 10.1.0.1/24 dev west
addr add 10.1.0.2/24 dev west
addr add 10.2.0.1/24 dev east
addr add fe80::1/64 dev west nodad
addr add fd00:1::1/64 dev west nodad
addr add fd00:1::2/64 dev west nodad
addr add fd00:2::1/64 dev east nodad
route add 224.0.0.0/4 dev west
";

/// Unmakes and makes the link `west`, as when a line is dialled anew: what was joined on it is forgotten.
const WEST_ANEW: &str = "\
link del west
link add west type veth peer name west-far
link set west addrgenmode none
link set west-far addrgenmode none
link set west mtu 65535 up
link set west-far mtu 65535 up
addr add 10.1.0.1/24 dev west
addr add fe80::1/64 dev west nodad
addr add fd00:1::1/64 dev west nodad
route add 224.0.0.0/4 dev west
";

/// How often a test is run at most while the kernel loses packets.
const ATTEMPTS: usize = 3;

/// Set for the program inside a user namespace, which must not try a second time.
const INSIDE: &str = "FLOWGATE_E2E_INSIDE";

/// Runs a test in a network of its own; skips it where the system allows none.
pub(crate) fn with_links<F: Fn() + Send + Sync + 'static>(test: F) {
    if tool::have(&["ip", "unshare"]) {
        run(LINKS, test);
    }
}

/// The same with nothing but loopback, as on a machine that is in no network.
pub(crate) fn with_loopback_only<F: Fn() + Send + Sync + 'static>(test: F) {
    if tool::have(&["ip", "unshare"]) {
        run("link set lo up\n", test);
    }
}

/// Replaces the link `west` of the network of this thread by another of the same name.
pub(crate) fn replace_west() {
    set_up(WEST_ANEW);
}

/// Whether we are inside the user namespace made here, in which there is only one user.
pub(crate) fn is_inside_user_namespace() -> bool {
    std::env::var_os(INSIDE).is_some()
}

fn run<F: Fn() + Send + Sync + 'static>(batch: &'static str, test: F) {
    // The path of a closure names the test around it.
    let path = std::any::type_name::<F>();
    let name = path
        .split_once("::")
        .map_or(path, |(_, name)| name)
        .trim_end_matches("::{{closure}}");
    let test = Arc::new(test);
    for attempts_left in (0..ATTEMPTS).rev() {
        let lost_before = packets_lost_by_the_kernel();
        match attempt(name, batch, Arc::clone(&test)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) if is_inside_user_namespace() => {
                skip(&format!(
                    "no network namespace even in a user namespace: {error}"
                ));
            }
            Ok(Err(_)) => run_inside_user_namespace(name),
            Err(panic) => {
                let lost = packets_lost_by_the_kernel() - lost_before;
                if lost == 0 || attempts_left == 0 {
                    std::panic::resume_unwind(panic);
                }
                println!("once more, because the kernel lost {lost} packets meanwhile");
                continue;
            }
        }
        return;
    }
}

/// Runs the test once, in a thread that has left the network.
fn attempt<F: Fn() + Send + Sync + 'static>(
    name: &str,
    batch: &'static str,
    test: Arc<F>,
) -> std::thread::Result<io::Result<()>> {
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            set_up(batch);
            test();
            Ok(())
        });
    thread.expect("a thread").join()
}

/// What did not fit into the processors' queues of received packets since the machine was started: the second column.
fn packets_lost_by_the_kernel() -> u64 {
    let counters = std::fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    let lost = counters.lines().filter_map(|line| line.split(' ').nth(1));
    lost.filter_map(|hexadecimal| u64::from_str_radix(hexadecimal, 16).ok())
        .sum()
}

fn set_up(batch: &str) {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip runs");
    let mut stdin = ip.stdin.take().expect("piped");
    stdin.write_all(batch.as_bytes()).expect("ip reads");
    drop(stdin);
    assert!(
        ip.wait().expect("ip ends").success(),
        "the links cannot be made"
    );
}

fn run_inside_user_namespace(name: &str) {
    let allowed = tool::run(Command::new("unshare").args(["-r", "-n", "true"]));
    if !allowed.status.success() {
        return skip(&format!("no network namespace: {}", allowed.stderr.trim()));
    }
    let program = std::env::current_exe().expect("our own path");
    let mut command = Command::new("unshare");
    command
        .arg("-r")
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1");
    let said = tool::run_within(Duration::from_secs(240), &mut command);
    assert!(
        said.status.success() && said.stdout.contains("1 passed"),
        "{name} in a user namespace:\n{}\n{}",
        said.stdout,
        said.stderr
    );
    // Such as that it was skipped there.
    let _ = io::stderr().write_all(said.stderr.as_bytes());
}
