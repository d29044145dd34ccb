//! The dependency rules, as tests over the `use` lines and paths of the source.
//!
//! Which module may name which stands in `ALLOWED`; a module that is not listed is an error, so that a new one
//! cannot escape the rule.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// For each module, the modules of this crate that it may name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("area", &["limits", "sys"]),
    ("arena", &[]),
    ("sys", &[]),
    ("scratch", &[]),
    ("limits", &[]),
    ("proto", &[]),
    ("playlist", &["limits", "proto"]),
    ("pool", &["limits", "sys"]),
    ("stats", &[]),
    ("access_log", &["limits", "sys"]),
    ("status", &["area", "limits", "proto", "stats"]),
    ("web", &[]),
    ("send_queue", &["limits", "net", "pool", "stats"]),
    ("config", &["limits", "proto", "logger", "playlist"]),
    ("cli", &["access_log", "config", "limits"]),
    ("logger", &["area", "config", "limits", "sys"]),
    ("net", &["arena", "limits", "pool", "sys"]),
    (
        "shared",
        &["config", "limits", "net", "pool", "stats", "web"],
    ),
    ("sequencer", &["limits", "pool", "proto", "shared"]),
    ("tick", &["limits", "net", "shared"]),
    ("client", ENTITY),
    ("channel", ENTITY),
    ("upstream", ENTITY),
    (
        "router",
        &[
            "access_log",
            "area",
            "arena",
            "channel",
            "client",
            "config",
            "limits",
            "net",
            "playlist",
            "pool",
            "proto",
            "shared",
            "stats",
            "status",
            "sys",
            "timers",
            "upstream",
        ],
    ),
    (
        "supervisor",
        &[
            "area",
            "cli",
            "config",
            "limits",
            "listen",
            "logger",
            "net",
            "notify",
            "pid_file",
            "privilege",
            "router",
            "sys",
        ],
    ),
    ("demo", &["sys"]),
    ("listen", &["config", "limits", "net", "sys"]),
    ("notify", &["sys"]),
    ("pid_file", &["limits", "sys"]),
    ("privilege", &["config", "sys"]),
    ("timers", &[]),
    (
        "probe",
        &["arena", "limits", "net", "proto", "sys", "timers"],
    ),
    ("layering", &[]),
    ("link_order", &["layering"]),
    (
        "main",
        &[
            "area",
            "cli",
            "config",
            "demo",
            "listen",
            "logger",
            "net",
            "privilege",
            "probe",
            "supervisor",
        ],
    ),
    ("lib", &[]),
];

const ENTITY: &[&str] = &[
    "config",
    "limits",
    "net",
    "playlist",
    "pool",
    "proto",
    "send_queue",
    "sequencer",
    "shared",
    "stats",
    "status",
    "sys",
    "tick",
    "web",
];

/// Every source file below `src` but files of tests and the simulation, which sees everything.
pub(crate) fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the source") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if !path.ends_with("src/sim") && !path.ends_with("tests") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The top-level module that a file belongs to.
fn module(path: &Path) -> String {
    let inside = path
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .expect("below src");
    let first = inside
        .components()
        .next()
        .expect("a name")
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file without comments, and without its tests, which come last.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file");
    let shipped = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    shipped
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Modules of this crate named by paths such as `crate::pool::Pool`.
fn named(code: &str) -> Vec<&str> {
    let paths = code
        .split("crate::")
        .skip(1)
        .chain(code.split("flowgate::").skip(1));
    paths
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .collect(),
            None => vec![rest],
        })
        .map(|path| {
            path.trim()
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn modules_name_only_what_lies_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut broken = Vec::new();
    for path in sources() {
        let module = module(&path);
        let Some(allowed) = allowed.get(module.as_str()) else {
            broken.push(format!("{module} is not in the table"));
            continue;
        };
        for name in named(&code(&path)) {
            let is_module = ALLOWED.iter().any(|(known, _)| *known == name);
            if is_module && name != module && !allowed.contains(&name) {
                broken.push(format!("{} names {name}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_sys_says_unsafe() {
    for path in sources()
        .iter()
        .filter(|path| module(path) != "sys" && module(path) != "layering")
    {
        let says = code(path)
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe");
        assert!(!says, "{} says unsafe", path.display());
    }
}

#[test]
fn only_net_waits_and_reads_the_clock() {
    let calls = [
        "Instant::now(",
        "SystemTime::now(",
        "thread::sleep(",
        "to_socket_addrs(",
    ];
    // Start-up and the supervisor may block, the logger stamps lines, and the demo source is equipment of its own.
    let excused = ["net", "logger", "demo", "config", "supervisor", "layering"];
    for path in sources()
        .iter()
        .filter(|path| !excused.contains(&module(path).as_str()))
    {
        let code = code(path);
        let call = calls.iter().find(|call| code.contains(*call));
        assert!(
            call.is_none(),
            "{} calls {}",
            path.display(),
            call.unwrap_or(&"")
        );
    }
}
