//! What answers as Redis does, but for the dump that it sends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context, Result};

/// A server on the loopback, for as long as the process lives.
pub struct FakeRedis {
    address: SocketAddr,
    sent: Receiver<()>,
}

impl FakeRedis {
    /// Answers `INFO` with `info` and `PSYNC` with `dump`, and closes the connection then.
    ///
    /// # Errors
    /// When no port is to be had.
    pub fn start(info: &str, dump: Vec<u8>) -> Result<Self> {
        Self::listen(info, dump, false, None)
    }

    /// As [`FakeRedis::start`], the only master of a cluster: it says that it has these slots before its dump was sent, and
    /// those afterwards.
    ///
    /// # Errors
    /// As [`FakeRedis::start`].
    pub fn start_cluster(info: &str, dump: Vec<u8>, before: &str, after: &str) -> Result<Self> {
        Self::listen(info, dump, false, Some([before.to_owned(), after.to_owned()]))
    }

    /// As [`FakeRedis::start`], but silent after the dump.
    ///
    /// # Errors
    /// As [`FakeRedis::start`].
    pub fn start_silent(info: &str, dump: Vec<u8>) -> Result<Self> {
        Self::listen(info, dump, true, None)
    }

    fn listen(info: &str, dump: Vec<u8>, is_silent: bool, slots: Option<[String; 2]>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for a server")?;
        let address = listener.local_addr()?;
        let (sender, sent) = channel();
        let answers = Answers { info: info.to_owned(), dump, is_silent, port: address.port(), slots };
        let (answers, has_sent) = (Arc::new(answers), Arc::new(AtomicBool::new(false)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, has_sent, sender) = (answers.clone(), has_sent.clone(), sender.clone());
                // Whoever does not like what it is sent goes away.
                std::thread::spawn(move || serve(stream, &answers, &has_sent, &sender));
            }
        });
        Ok(Self { address, sent })
    }

    /// The URL by which a client reaches it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Waits until the dump was sent.
    pub fn wait_until_sent(&self) {
        let _sent = self.sent.recv();
    }
}

/// What it says.
struct Answers {
    info: String,
    dump: Vec<u8>,
    is_silent: bool,
    port: u16,
    /// Of a cluster: before the dump, and afterwards.
    slots: Option<[String; 2]>,
}

fn serve(stream: TcpStream, answers: &Answers, has_sent: &AtomicBool, sent: &Sender<()>) -> Result<()> {
    let Answers { info, dump, is_silent, port, slots } = answers;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words: usize = line.trim().trim_start_matches('*').parse()?;
        let mut command = Vec::new();
        for _ in 0..words {
            line.clear();
            reader.read_line(&mut line)?;
            let mut word = vec![0; line.trim().trim_start_matches('$').parse::<usize>()? + 2];
            reader.read_exact(&mut word)?;
            command.push(String::from_utf8_lossy(&word).trim_end().to_owned());
        }
        match command.first().map(String::as_str) {
            Some("INFO") => write!(stream, "${}\r\n{info}\r\n", info.len())?,
            Some("CLUSTER") => {
                let slots = slots.as_ref().map(|slots| &slots[usize::from(has_sent.load(Ordering::SeqCst))]);
                let slots = slots.map(String::as_str).unwrap_or_default();
                let line = format!("a 127.0.0.1:{port}@1 myself,master - 0 0 1 connected {slots}\n");
                write!(stream, "${}\r\n{line}\r\n", line.len())?;
            }
            Some("PSYNC") => {
                // Before whoever asks has all of it.
                has_sent.store(true, Ordering::SeqCst);
                stream.write_all(dump)?;
                stream.flush()?;
                let _waited_for = sent.send(());
                if *is_silent {
                    // Until it is gone.
                    let _gone = reader.read(&mut [0]);
                }
                return Ok(());
            }
            _ => write!(stream, "+OK\r\n")?,
        }
    }
}
