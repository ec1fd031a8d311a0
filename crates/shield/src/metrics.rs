//! Counters over HTTP, for Prometheus, and the state at `/status`. Entry: [`serve`]. Reads no more of a request than
//! its end, and answers every other one by the counters.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::server::Shared;
use crate::status::status;

/// Octets of a request that are read.
const LONGEST: usize = 8 << 10;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many are answered at a time. Who asks is one of ours, but one who is silent must not keep the others from the
/// state: a hole is open again where it does not come.
const AT_A_TIME: usize = 16;

/// Answers until the program ends.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(AT_A_TIME));
    // It is never closed.
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        if let Ok((stream, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                // One who is too slow is left alone.
                tokio::time::timeout(PATIENCE, answer(stream, &shared))
                    .await
                    .ok();
                drop(permit);
            });
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn answer(mut stream: TcpStream, shared: &Shared) {
    let mut request: Vec<u8> = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 && request.len() < LONGEST => {
                request.extend(buffer.iter().take(count));
            }
            _ => return,
        }
    }
    let now = Timestamp::now();
    let (kind, body) = if request.starts_with(b"GET /status ") {
        let Ok(state) = serde_json::to_string(&status(shared, now)) else {
            return;
        };
        ("application/json", state)
    } else {
        let backends: Vec<_> = shared.backends.states().collect();
        let mut body =
            shared
                .counters
                .render(&backends, &shared.certificates(), shared.log.dropped());
        body.push_str(&shared.patches.render(now));
        body.push_str(&shared.content().render());
        ("text/plain; version=0.0.4", body)
    };
    let text = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    if stream.write_all(text.as_bytes()).await.is_ok() {
        stream.shutdown().await.ok();
    }
}
