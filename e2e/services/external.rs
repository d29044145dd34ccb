//! Lists and guides from elsewhere: servers and files, good and bad, and what clients get meanwhile.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::{configured, text};
use crate::proxy::nginx::Nginx;
use crate::support::server::Server;
use crate::support::tool::{self, kill, run};
use crate::support::{SOON, TempDir, wait_for};

fn list(name: &str, guide: &str) -> String {
    format!("#EXTM3U x-tvg-url=\"{guide}\"\n#EXTINF:-1,{name}\nrtp://239.0.0.1:5000\n")
}

fn write(directory: &Path, name: &str, content: &str) {
    // At once, so that no half of it can be read.
    let new = directory.join("new");
    std::fs::write(&new, content).expect("written");
    std::fs::rename(new, directory.join(name)).expect("renamed");
}

fn wait_for_service(server: &Server, path: &str) {
    wait_for(SOON, path, || {
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        (server.exchange(request.as_bytes()).status == 200).then_some(())
    });
}

/// Kills the worker, and waits until that is known.
fn kill_worker(server: &Server) {
    let pid = server.worker();
    kill(pid, libc::SIGKILL);
    server
        .log()
        .wait(&format!("(pid {pid}) killed by signal 9"));
}

#[test]
fn worker_that_takes_anothers_place_begins_with_its_list() {
    let origin = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = origin.local_addr().expect("bound").port();
    let configured = configured(&format!(
        "[global]\nexternal-m3u = http://127.0.0.1:{port}/list\n"
    ));
    let server = &configured.server;
    let (mut peer, _) = origin.accept().expect("a request");
    let list = list("One", "");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", list.len());
    peer.write_all((head + &list).as_bytes()).expect("sent");
    wait_for_service(server, "/One");
    kill_worker(server);
    // The origin does not answer any more.
    let answer = server.exchange(b"HEAD /One HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(answer.status, 200, "{}", answer.head);
    // A list from another address is not taken for it.
    let other = format!("[global]\nexternal-m3u = http://127.0.0.1:{port}/other\n");
    configured.reload(&other, "the new configuration holds");
    kill_worker(server);
    let answer = server.exchange(b"HEAD /One HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(answer.status, 404, "{}", answer.head);
}

/// The requests that nginx was sent for this file.
fn count(nginx: &Nginx, name: &str) -> usize {
    let served = nginx.served();
    served.iter().filter(|line| line.3.ends_with(name)).count()
}

/// Waits until every worker has something. Each connection is taken by any of them.
fn wait_for_all(server: &Server, path: &str) {
    wait_for(SOON, path, || {
        let has = |_| server.get(path).status == 200;
        (0..64).all(has).then_some(())
    });
}

#[test]
fn one_worker_asks_for_all() {
    if !Nginx::available() {
        return;
    }
    let directory = TempDir::new();
    let root = directory.path().to_owned();
    let nginx = Nginx::start(directory, "", "");
    let guide = format!("http://127.0.0.1:{}/guide.xml", nginx.port);
    write(&root, "list.m3u", &list("One", &guide));
    write(&root, "guide.xml", "<tv>guide</tv>\n");
    let text_of = |interval: u32| {
        format!(
            "[global]\nworkers = 4\nexternal-m3u = http://127.0.0.1:{}/list.m3u\n\
             external-m3u-update-interval = {interval}\n",
            nginx.port
        )
    };
    let configured = configured(&text_of(0));
    let server = &configured.server;
    wait_for_all(server, "/playlist.m3u");
    wait_for_all(server, "/epg.xml");
    let counts = || (count(&nginx, "list.m3u"), count(&nginx, "guide.xml"));
    assert_eq!(counts(), (1, 1));
    // Those that come after one that died have both from the others.
    for pid in server.workers() {
        kill(pid, libc::SIGKILL);
        let killed = format!("(pid {pid}) killed by signal 9");
        server.log().wait(&killed);
    }
    wait_for_all(server, "/playlist.m3u");
    wait_for_all(server, "/epg.xml");
    assert_eq!(counts(), (1, 1));
    // Every second from now on, and everybody has what has come.
    configured.reload(&text_of(1), "the new configuration holds");
    // Of another length, or nginx would not see the difference within a second.
    write(&root, "list.m3u", &list("Another", &guide));
    wait_for(SOON, "the new list", || {
        let has = |_| text(&server.get("/playlist.m3u")).contains("/Another\n");
        (0..64).all(has).then_some(())
    });
    let start = Instant::now();
    let before = counts().0;
    wait_for(SOON, "three rounds", || {
        (counts().0 >= before + 3).then_some(())
    });
    let rounds = (counts().0 - before) as f64;
    let seconds = start.elapsed().as_secs_f64();
    assert!(
        rounds <= seconds + 1.5,
        "{rounds} requests in {seconds} seconds"
    );
}

#[test]
fn list_and_guide_are_fetched_refreshed_and_kept() {
    if !Nginx::available() || !tool::have(&["curl", "gzip"]) {
        return;
    }
    let directory = TempDir::new();
    let root = directory.path().to_owned();
    let nginx = Nginx::start(directory, "", "location /old { return 302 /list.m3u?x; }");
    let guide = format!("http://127.0.0.1:{}/guide.xml.gz", nginx.port);
    write(&root, "list.m3u", &list("One", &guide));
    write(&root, "guide.xml", "<tv>guide</tv>\n");
    assert!(
        run(Command::new("gzip").arg("-k").arg(root.join("guide.xml")))
            .status
            .success()
    );
    let own = "[services]\n#EXTM3U\n#EXTINF:-1,Own\nrtp://239.0.0.1:5001\n";
    let text_of = |rest: &str| {
        format!(
            "[global]\nexternal-m3u = http://127.0.0.1:{}/old\nexternal-m3u-update-interval = 1\n{rest}{own}",
            nginx.port
        )
    };
    let configured = configured(&text_of(""));
    let server = &configured.server;
    wait_for_service(server, "/One");
    wait_for_service(server, "/Own");
    wait_for(SOON, "the guide", || {
        (server.get("/epg.xml.gz").status == 200).then_some(())
    });
    let playlist = text(&server.get("/playlist.m3u"));
    assert!(
        playlist.starts_with("#EXTM3U x-tvg-url=\"http://localhost/epg.xml.gz\"\n\n"),
        "{playlist}"
    );
    assert!(
        playlist.find("/Own\n") < playlist.find("/One\n"),
        "{playlist}"
    );
    let plain = server.get("/epg.xml");
    assert_eq!(plain.header("Content-Type"), Some("application/xml"));
    assert_eq!(plain.header("Content-Encoding"), Some("gzip"));
    let packed = server.get("/epg.xml.gz");
    assert_eq!(packed.header("Content-Type"), Some("application/gzip"));
    assert_eq!(
        (packed.header("Content-Encoding"), packed.header("ETag")),
        (None, plain.header("ETag"))
    );
    assert_eq!(
        packed.body,
        std::fs::read(root.join("guide.xml.gz")).expect("read")
    );
    let said = run(Command::new("curl")
        .args(["-sS", "--compressed"])
        .arg(server.url("/epg.xml")));
    assert_eq!(said.stdout, "<tv>guide</tv>\n");
    // Neither is sent again by nginx unless it has changed.
    server.log().wait("it has not changed");
    wait_for(SOON, "304 of nginx", || {
        let served = nginx.served();
        served
            .iter()
            .any(|(_, _, status, uri)| *status == 304 && uri.contains("list.m3u"))
            .then_some(())
    });
    // Whatever comes instead of a list changes nothing.
    write(&root, "list.m3u", "<!doctype html><title>Log in</title>");
    server.log().wait("it is no channel list");
    std::fs::remove_file(root.join("list.m3u")).expect("removed");
    server
        .log()
        .wait("the server answers with status 404; the next try is in ");
    wait_for_service(server, "/One");
    // Not even a reload does.
    configured.reload(&text_of("xff = yes\n"), "the new configuration holds");
    wait_for_service(server, "/One");
    assert_eq!(server.get("/epg.xml.gz").status, 200);
    write(&root, "list.m3u", &list("Two", &guide));
    wait_for_service(server, "/Two");
    assert_eq!(server.get("/One").status, 404);
    // Without its address the list is gone.
    configured.reload(own, "the new configuration holds");
    wait_for(SOON, "the list to be gone", || {
        (server.get("/Two").status == 404).then_some(())
    });
    wait_for(SOON, "the guide to be gone", || {
        (server.get("/epg.xml").status == 404).then_some(())
    });
}

#[test]
fn file_is_a_list_and_may_name_a_file_as_its_guide() {
    let directory = TempDir::new();
    let guide = directory.path().join("guide b.xml");
    std::fs::write(&guide, "<tv/>").expect("written");
    let guide = format!("file://{}", guide.display());
    write(directory.path(), "a.m3u", &list("One", &guide));
    let url = format!("file://{}/a.m3u", directory.path().display());
    let server = Server::start(&["-M", &url, "-I", "1"]);
    wait_for_service(&server, "/One");
    wait_for(SOON, "the guide", || {
        (server.get("/epg.xml").status == 200).then_some(())
    });
    let response = server.get("/epg.xml");
    assert_eq!(
        (
            response.body.as_slice(),
            response.header("Content-Encoding")
        ),
        (&b"<tv/>"[..], None)
    );
    assert_eq!(server.get("/epg.xml.gz").status, 404);
    let tag = response.header("ETag").expect("a tag");
    let request = format!("GET /epg.xml HTTP/1.1\r\nHost: h\r\nIf-None-Match: {tag}\r\n\r\n");
    assert_eq!(server.exchange(request.as_bytes()).status, 304);
    write(directory.path(), "a.m3u", &list("Two", &guide));
    wait_for_service(&server, "/Two");
    server.stop_empty();
}

#[test]
fn provider_may_not_publish_files_nor_reach_this_host() {
    if !Nginx::available() {
        return;
    }
    let nginx = Nginx::start(TempDir::new(), "", "");
    let root = nginx.directory.path().to_owned();
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("bound").port();
    let list = format!(
        "#EXTM3U x-tvg-url=\"file:///etc/passwd\"\n#EXTINF:-1,Inside\nhttp://127.0.0.1:{port}/\n"
    );
    write(&root, "list.m3u", &list);
    let server = Server::start(&["-M", &format!("http://127.0.0.1:{}/list.m3u", nginx.port)]);
    server.log().wait("names a file of it");
    assert_eq!(server.get("/epg.xml").status, 404);
    let request = "GET /Inside HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n";
    assert_eq!(server.exchange(request.as_bytes()).status, 403);
}

#[test]
fn server_that_never_answers_holds_nobody_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("bound").port();
    let configured = configured(&format!(
        "[global]\nexternal-m3u = http://127.0.0.1:{port}/list\n[services]\n#EXTM3U\n#EXTINF:-1,Own\nrtp://239.0.0.1\n"
    ));
    let (_connection, _) = silent.accept().expect("it is asked");
    wait_for_service(&configured.server, "/Own");
    assert_eq!(configured.server.get("/playlist.m3u").status, 200);
    configured.server.stop();
}
