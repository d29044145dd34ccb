//! HTTPS upstreams: nginx with certificates made for the test, good and bad.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

use super::nginx::Nginx;
use super::wire::{Origin, Wire, request};
use crate::support::server::Server;
use crate::support::tool::Tool;
use crate::support::{TempDir, tool};

type Authority = Arc<CertifiedIssuer<'static, KeyPair>>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    Arc::new(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
}

/// An nginx with a certificate for `names`, issued by `authority` and expired or not.
fn nginx(authority: &Authority, names: &[&str], expired: bool, server: &str) -> Nginx {
    let directory = TempDir::new();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("good names");
    if expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let certificate = write("certificate.pem", certificate.pem());
    let key = write("key.pem", key.serialize_pem());
    write("authority.pem", authority.pem());
    let server = format!("ssl_certificate {certificate};\nssl_certificate_key {key};\n{server}");
    Nginx::start(directory, "ssl", &server)
}

/// The options that make the router trust `nginx`'s authority.
fn trusting(nginx: &Nginx) -> Server {
    Server::start(&[
        "--tls-ca",
        &path(&nginx.directory.path().join("authority.pem")),
    ])
}

fn path(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn https_upstream_is_served_and_its_connection_kept() {
    if !Nginx::available() || !tool::have(&["curl"]) {
        return;
    }
    let authority = authority("ours");
    for protocols in ["TLSv1.2", "TLSv1.3"] {
        let server = format!(
            "ssl_protocols {protocols};\n\
             location = /who {{ return 200 \"$ssl_protocol $ssl_server_name $http_host $connection_requests\"; }}\n\
             location = /upload {{ client_max_body_size 8m; client_body_buffer_size 8m; dav_methods PUT; }}"
        );
        let nginx = nginx(&authority, &["localhost", "127.0.0.1"], false, &server);
        let server = trusting(&nginx);
        let port = nginx.port;
        let mut client = Wire::to(&server);
        for round in 1..=3 {
            let response = client.get(&format!("/https/localhost:{port}/who"));
            let expected = format!("{protocols} localhost localhost:{port} {round}");
            assert_eq!(String::from_utf8_lossy(&response.body), expected);
        }
        // By address there is no server name to tell (RFC 6066 §3).
        let response = client.get(&format!("/https/127.0.0.1:{port}/who"));
        let expected = format!("{protocols}  127.0.0.1:{port} 1");
        assert_eq!(String::from_utf8_lossy(&response.body), expected);
        // A body of many records, up and down again.
        let body: Vec<u8> = (0..5_000_000_u32)
            .map(|at| (at ^ (at >> 9)) as u8)
            .collect();
        let source = nginx.directory.path().join("source");
        let copy = nginx.directory.path().join("copy");
        std::fs::write(&source, &body).expect("written");
        let url = server.url(&format!("/https/localhost:{port}/upload"));
        let curl = |arguments: &[&str]| {
            let said = tool::run(
                Command::new("curl")
                    .args(["-sSf"])
                    .args(arguments)
                    .arg(&url),
            );
            assert!(said.status.success(), "{}", said.stderr);
        };
        curl(&["-T", &path(&source)]);
        curl(&["-o", &path(&copy)]);
        assert!(
            std::fs::read(&copy).expect("written") == body,
            "the body was changed"
        );
        drop(client);
        server.stop_empty();
    }
}

#[test]
fn certificate_that_proves_nothing_is_answered_with_502_and_the_reason() {
    if !Nginx::available() {
        return;
    }
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let good = nginx(&ours, &["localhost"], false, "");
    let server = trusting(&good);
    for (nginx, host, why) in [
        (
            nginx(&ours, &["localhost"], true, ""),
            "localhost",
            "has expired",
        ),
        (
            nginx(&ours, &["elsewhere.example"], false, ""),
            "localhost",
            "is for another name",
        ),
        (
            nginx(&ours, &["localhost"], false, ""),
            "127.0.0.1",
            "is for another name",
        ),
        (
            nginx(&theirs, &["localhost"], false, ""),
            "localhost",
            "unknown authority",
        ),
    ] {
        let response = server.get(&format!("/https/{host}:{}/", nginx.port));
        response.assert_error(502, "Bad Gateway");
        let said = response.header("X-Flowgate-Error").unwrap_or_default();
        assert!(said.contains(why) && said.contains(host), "{said}");
        assert_eq!(nginx.served(), [], "the request was sent all the same");
    }
    // Without the option the same good server is not trusted.
    let strict = Server::start(&[]);
    let response = strict.get(&format!("/https/localhost:{}/", good.port));
    response.assert_error(502, "Bad Gateway");
    server.stop_empty();
}

/// Python closes without the announcement (RFC 8446 §6.1), as many servers do.
const CURT_SERVER: &str = r##"
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
while True:
    peer = context.wrap_socket(listener.accept()[0], server_side=True)
    path = peer.recv(65536).split()[1].decode()
    body = {"/whole.m3u8": "#EXTM3U\n#EXTINF:4,\na.ts\n", "/cut.m3u8": "#EXTM3U\n#EXTINF:4,\na"}
    peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body.get(path, "all of it").encode())
    peer.close()
"##;

#[test]
fn body_that_ends_without_the_announcement_of_tls_ends_for_the_client_too() {
    if !Nginx::available() || !tool::have(&["python3"]) {
        return;
    }
    let nginx = nginx(&authority("ours"), &["localhost"], false, "");
    let file = |name: &str| path(&nginx.directory.path().join(name));
    let mut command = Command::new("python3");
    command.args([
        "-c",
        CURT_SERVER,
        &file("certificate.pem"),
        &file("key.pem"),
    ]);
    let curt = Tool::start(&mut command);
    let line = curt.stdout.wait("port ");
    let port = line.trim_start_matches("port ");
    let server = trusting(&nginx);
    let mut client = Wire::to(&server);
    client.send(request("GET", &format!("/https/localhost:{port}/"), ""));
    assert_eq!(client.response_head().status, 200);
    let whole = (b"all of it".to_vec(), false);
    assert_eq!(client.rest_and_reset(), whole);

    // A playlist is taken if no line of it is cut.
    let mut client = Wire::to(&server);
    let playlist = client.get(&format!("/https/localhost:{port}/whole.m3u8"));
    let body = String::from_utf8(playlist.body).expect("text");
    let link = format!("http://tv.home:5140/https/localhost:{port}/a.ts\n");
    assert_eq!(
        (playlist.status, body),
        (200, format!("#EXTM3U\n#EXTINF:4,\n{link}"))
    );
    let cut = client.get(&format!("/https/localhost:{port}/cut.m3u8"));
    assert_eq!(cut.status, 502);
    let reason = cut.header("X-Flowgate-Error").expect("a reason");
    assert!(
        reason.contains("without announcing it (close_notify)"),
        "{reason}"
    );
    server.stop_empty();
}

#[test]
fn upstream_that_speaks_no_tls_is_answered_with_502() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let mut client = Wire::to(&server);
    client.send(request(
        "GET",
        &format!("/https/localhost:{}/", origin.port),
        "",
    ));
    let mut peer = origin.accept();
    // A client hello, and nothing in the clear.
    assert_eq!(peer.exact(3)[..2], [0x16, 0x03]);
    peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    client.response().assert_error(502, "Bad Gateway");
    drop(peer);

    client = Wire::to(&server);
    client.send(request(
        "GET",
        &format!("/https/localhost:{}/", origin.port),
        "",
    ));
    drop(origin.accept());
    client.response().assert_error(502, "Bad Gateway");

    // Silence in the handshake is waited for as long as for a connection.
    let hasty = Server::start(&["--http-connect-timeout", "0.3"]);
    client = Wire::to(&hasty);
    client.send(request(
        "GET",
        &format!("/https/localhost:{}/", origin.port),
        "",
    ));
    let _silent = origin.accept();
    client.response().assert_error(504, "Gateway Timeout");
    server.stop_empty();
}
