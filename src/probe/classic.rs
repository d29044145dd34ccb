//! The YAML files of go-backpressure (probe spec B.12): one flat map, which needs no YAML library.
//!
//! `---`, comments and `key: value` with a bare or quoted scalar are understood; everything else is refused with its
//! line, because a file that means something else must not be half understood.

/// One entry: key, value, and the number of its line.
pub type Entry = (String, String, usize);

/// Longest file, bytes.
const FILE_BYTES_MAX: usize = 64 << 10;

/// Reads a flat map.
///
/// # Errors
///
/// The line and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Entry>, String> {
    if text.len() > FILE_BYTES_MAX {
        return Err(format!("more than {FILE_BYTES_MAX} bytes"));
    }
    let mut entries: Vec<Entry> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let wrong = |what: &str| format!("line {number}: {what}");
        if line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim_end() == "---"
        {
            continue;
        }
        if line.starts_with([' ', '\t', '-']) {
            return Err(wrong("only a flat map is understood"));
        }
        let (key, value) = line
            .split_once(':')
            .filter(|(_, value)| value.is_empty() || value.starts_with([' ', '\t']))
            .ok_or_else(|| wrong("not `key: value`"))?;
        let value = scalar(value.trim()).ok_or_else(|| wrong("not a plain value"))?;
        let key = key.trim_end();
        if entries.iter().any(|(known, ..)| known == key) {
            return Err(wrong(&format!("{key} is there already")));
        }
        entries.push((key.to_owned(), value, number));
    }
    Ok(entries)
}

/// A bare or quoted scalar without the comment behind it.
fn scalar(text: &str) -> Option<String> {
    let quote = text
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''));
    let Some(quote) = quote else {
        let bare = match text.starts_with('#') {
            true => "",
            false => text.split(" #").next().unwrap_or(text).trim_end(),
        };
        let begins_other = ['[', '{', '&', '*', '!', '|', '>', '%', '@', '`'];
        let is_plain = !bare.starts_with(begins_other) && !bare.contains(": ");
        return is_plain.then(|| bare.to_owned());
    };
    let (inside, behind) = text.get(1..)?.split_once(quote)?;
    let behind = behind.trim_start();
    let is_over = behind.is_empty() || behind.starts_with('#');
    (is_over && !inside.contains('\\')).then(|| inside.to_owned())
}

/// The arguments of a server that a file stands for, and warnings about unknown keys.
///
/// # Errors
///
/// The line and what is wrong with it.
pub fn server_arguments(text: &str, has_port: bool) -> Result<(Vec<String>, Vec<String>), String> {
    let mut arguments = Vec::new();
    let mut warnings = Vec::new();
    for (key, value, line) in parse(text)? {
        let option = match key.as_str() {
            "protocol" if matches!(value.as_str(), "tcp" | "websocket") => "protocol",
            "protocol" => return Err(format!("line {line}: protocol is tcp or websocket")),
            // The environment wins, as it always has.
            "port" if has_port => continue,
            "port" => {
                arguments.push(format!("--listen=0.0.0.0:{value}"));
                continue;
            }
            "bufsize" => "read-size",
            "delay" => "read-delay",
            _ => {
                warnings.push(format!("line {line}: {key} is unknown and ignored"));
                continue;
            }
        };
        arguments.push(format!("--{option}={value}"));
    }
    Ok((arguments, warnings))
}

/// The URL and the arguments of a client that a file stands for, and warnings about unknown keys.
///
/// # Errors
///
/// The line and what is wrong with it, or the key that is missing.
pub fn client_arguments(text: &str) -> Result<(String, Vec<String>, Vec<String>), String> {
    let (mut scheme, mut host, mut port) = (None, None, None);
    let mut arguments = Vec::new();
    let mut warnings = Vec::new();
    for (key, value, line) in parse(text)? {
        match key.as_str() {
            "protocol" => {
                scheme = Some(match value.as_str() {
                    "tcp" => ("tcp", ""),
                    "websocket" => ("ws", "/ws"),
                    _ => return Err(format!("line {line}: protocol is tcp or websocket")),
                });
            }
            "server_addr" => host = Some(value),
            "server_port" => port = Some(value),
            "payload_size" => arguments.push(format!("--payload={value}")),
            "requests_per_second" => arguments.push(format!("--rate-msgs={value}")),
            "requests_total" => arguments.push(format!("--count={value}")),
            _ => warnings.push(format!("line {line}: {key} is unknown and ignored")),
        }
    }
    let (scheme, path) = scheme.ok_or("protocol is missing")?;
    let host = host.ok_or("server_addr is missing")?;
    let port = port.ok_or("server_port is missing")?;
    Ok((
        format!("{scheme}://{host}:{port}{path}"),
        arguments,
        warnings,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_shipped_examples_are_understood() {
        let server = "---\nprotocol: websocket # or tcp\nport: 8080\nbufsize: 1000\ndelay: 1000\n";
        let (arguments, warnings) = server_arguments(server, false).expect("sound");
        let expected = [
            "--protocol=websocket",
            "--listen=0.0.0.0:8080",
            "--read-size=1000",
            "--read-delay=1000",
        ];
        assert_eq!(
            (arguments, warnings),
            (expected.map(str::to_owned).to_vec(), vec![])
        );
        let client = "protocol: 'websocket'\nserver_addr: \"localhost\"\nserver_port: 8080\n\
                      payload_size: 1000\nrequests_per_second: 1\nrequests_total: 5\ncolour: red\n";
        let (url, arguments, warnings) = client_arguments(client).expect("sound");
        assert_eq!(url, "ws://localhost:8080/ws");
        assert_eq!(arguments, ["--payload=1000", "--rate-msgs=1", "--count=5"]);
        assert_eq!(warnings, ["line 7: colour is unknown and ignored"]);
    }

    #[test]
    fn what_is_no_flat_map_is_refused_with_its_line() {
        for (text, line) in [
            ("a: 1\n  b: 2", "line 2"),
            ("- a", "line 1"),
            ("a", "line 1"),
            ("a:1", "line 1"),
            ("a: [1]", "line 1"),
            ("a: 'x", "line 1"),
            ("a: 1\na: 2", "line 2"),
            ("a: b: c", "line 1"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(line), "{text}: {error}");
        }
        assert!(client_arguments("protocol: carrier").is_err());
        assert!(
            client_arguments("")
                .expect_err("empty")
                .contains("protocol")
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-a:# '\"\n\\[{]{0,60}") {
            let _ = parse(&text);
        }
    }
}
