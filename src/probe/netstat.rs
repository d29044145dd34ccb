//! Counters of the whole machine that speak of closed windows (probe spec B.8.2).

use serde_json::{Map, Value};

/// The counters, of the line pair `TcpExt`.
const NAMES: [&str; 4] = [
    "TCPToZeroWindowAdv",
    "TCPFromZeroWindowAdv",
    "TCPWantZeroWindowAdv",
    "TCPZeroWindowDrop",
];

/// Their values now; those that the kernel lacks are absent.
pub fn read() -> Map<String, Value> {
    parse(&std::fs::read_to_string("/proc/net/netstat").unwrap_or_default())
}

/// By how much they have grown since `before`.
pub fn growth(before: &Map<String, Value>) -> Map<String, Value> {
    let mut grown = read();
    for (name, value) in &mut grown {
        let was = before.get(name).and_then(Value::as_u64).unwrap_or(0);
        *value = value.as_u64().unwrap_or(0).saturating_sub(was).into();
    }
    grown
}

fn parse(text: &str) -> Map<String, Value> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return Map::new();
    };
    let pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs
        .filter(|(name, _)| NAMES.contains(name))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse::<u64>().ok()?.into())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_paired_by_their_place() {
        let text = "TcpExt: A TCPToZeroWindowAdv B TCPZeroWindowDrop\nTcpExt: 1 2 3 4\n\
                    IpExt: TCPToZeroWindowAdv\nIpExt: 9\n";
        let counters = parse(text);
        assert_eq!(counters.len(), 2);
        assert_eq!(counters["TCPToZeroWindowAdv"], 2);
        assert_eq!(counters["TCPZeroWindowDrop"], 4);
        assert!(parse("nothing").is_empty());
    }
}
