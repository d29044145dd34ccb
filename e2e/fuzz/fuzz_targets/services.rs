//! A channel list and a request: every link leads to a service, and no query breaks one.
#![no_main]

use flowgate::playlist::{Builder, DocumentAddress, Naming, Origin, is_list};
use libfuzzer_sys::fuzz_target;

const BASE: &str = "base://";

fuzz_target!(|input: (&str, &str)| {
    let (list, query) = input;
    let _ = is_list(list);
    let mut builder = Builder::new(Naming {
        prefix: "/tv".to_owned(),
        token: Some("k%20y".to_owned()),
        status_page_path: "/status".to_owned(),
        player_page_path: "/player".to_owned(),
    });
    builder.begin(Origin::Provider);
    for line in list.lines() {
        let _ = builder.take(line);
    }
    let _ = builder.end();
    let catalogue = builder.finish();
    if let Some(guide) = catalogue.guide() {
        let _ = DocumentAddress::parse(&guide.address);
    }
    let text = catalogue.playlist().write(BASE, None);
    let text = String::from_utf8(text).expect("text");
    if list.contains(BASE) {
        return;
    }
    for (at, _) in text.match_indices(BASE) {
        let link = text[at + BASE.len()..].lines().next().unwrap_or_default();
        let target = format!("/{}", link.split('"').next().unwrap_or_default());
        let (service, _) = catalogue.find(&target).expect("a service");
        if let Ok(merged) = service.source.merged(Some(query)) {
            assert!(merged.url().starts_with(service.source.scheme.name()));
        }
    }
});
