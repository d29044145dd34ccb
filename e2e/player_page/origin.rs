//! A server of recordings: gives the same bytes to whoever asks, and remembers what was asked for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Ends with the test program.
pub(super) struct Origin {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    /// Serves `body` under every path.
    pub(super) fn start(body: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (body, remembered) = (Arc::new(body), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (body, remembered) = (Arc::clone(&body), Arc::clone(&remembered));
                std::thread::spawn(move || {
                    serve(stream.expect("a connection"), &body, &remembered)
                });
            }
        });
        Self { port, asked }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The targets asked for, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no server panics").clone()
    }
}

fn serve(mut stream: TcpStream, body: &[u8], asked: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head);
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().expect("no server panics").push(target);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // Whoever has seen enough may leave.
    let _ = stream
        .write_all(answer.as_bytes())
        .and_then(|()| stream.write_all(body));
}
