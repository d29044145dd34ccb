//! Any bytes as a configuration file: nothing panics, every problem is one line and within its bound, and what is
//! in effect afterwards is printed as a file that says the same without a problem.
#![no_main]

use std::path::Path;

use flowgate::config::{Config, Draft, file, file_text};
use flowgate::limits::CONFIG_PROBLEMS_MAX;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut draft = Draft::new(Config::default());
    let problems = file::apply(&mut draft, bytes, 0, Path::new("fuzz.conf"));
    assert!(problems.len() <= CONFIG_PROBLEMS_MAX + 1);
    for problem in &problems {
        assert!(!problem.to_string().contains(char::is_control));
    }
    let (config, sources) = draft.finish();
    let text = file_text(&config, &sources, &["fuzz.conf".into()]);
    let mut again = Draft::new(Config::default());
    let problems = file::apply(&mut again, text.as_bytes(), 0, Path::new("printed.conf"));
    assert!(problems.is_empty(), "{problems:?} in {text}");
    assert_eq!(again.finish().0, config, "{text}");
});
