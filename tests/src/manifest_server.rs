//! A tiny HTTP server for the manifest URL: it answers with what it is told, and only to those who know the password.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

/// A header that every request has to carry: `X-Password: open-sesame`.
pub const HEADER: (&str, &str) = ("X-Password", "open-sesame");

/// The server; dropping it ends it.
#[derive(Debug)]
pub struct ManifestServer {
    address: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    answer: Mutex<(u16, String)>,
    served: AtomicU64,
    refused: AtomicU64,
    stop: AtomicBool,
}

impl ManifestServer {
    /// Listens on a free port of loopback.
    #[track_caller]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_thread.stop.load(Ordering::Relaxed) {
                    return;
                }
                // A client that goes away concerns only itself.
                let _answered = of_thread.answer(&stream);
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// The URL to read manifests from.
    pub fn url(&self) -> String {
        format!("http://{}/pods", self.address)
    }

    /// What is answered from now on.
    #[track_caller]
    pub fn answer(&self, status: u16, body: &str) {
        *self.shared.answer.lock().unwrap() = (status, body.to_owned());
    }

    /// How many requests carried the header, and how many did not.
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.served.load(Ordering::Relaxed), self.shared.refused.load(Ordering::Relaxed))
    }
}

impl Shared {
    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let wanted = format!("{}: {}", HEADER.0, HEADER.1).to_lowercase();
        let mut known = false;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            known |= line.to_lowercase() == wanted;
            if line.is_empty() {
                break;
            }
        }
        let (status, body) = self.answer.lock().unwrap().clone();
        let (status, body) = if known { (status, body) } else { (403, "who are you?".to_owned()) };
        let counter = if known { &self.served } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        let length = body.len();
        write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }
}

impl Drop for ManifestServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // One more connection wakes the thread, which then looks at the flag.
        let _woken = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}
