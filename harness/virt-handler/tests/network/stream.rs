//! TCP between namespaces.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use trunkline_fabric::NetNs;

const PATIENCE: Duration = Duration::from_secs(20);

/// Everybody who connects is told who they are, and the name of the listener.
pub(crate) async fn greet(netns: &NetNs, at: &str, name: &'static str) {
    let at: SocketAddr = at.parse().unwrap();
    let listener = netns
        .run(move || TcpListener::bind(at).unwrap())
        .await
        .unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            write!(stream, "{name} sees {peer}").unwrap();
        }
    });
}

/// What the other side says, or why nobody does.
pub(crate) async fn call(netns: &NetNs, to: &str) -> Result<String, std::io::ErrorKind> {
    let to: SocketAddr = to.parse().unwrap();
    netns
        .run(move || {
            let stream = TcpStream::connect_timeout(&to, PATIENCE);
            let mut stream = stream.map_err(|error| error.kind())?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut text = String::new();
            stream
                .read_to_string(&mut text)
                .map_err(|error| error.kind())?;
            Ok(text)
        })
        .await
        .unwrap()
}

/// Sends so many bytes and has the receiver check each of them; returns Mbit/s.
pub(crate) async fn bulk(from: &NetNs, to: &NetNs, address: IpAddr, length: usize) -> u64 {
    let listener = to
        .run(move || TcpListener::bind((IpAddr::from([0; 4]), 0)).unwrap())
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let receiver = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = vec![0; 1 << 16];
        let mut received = 0;
        loop {
            let read = stream.read(&mut buffer).unwrap();
            if read == 0 {
                return received;
            }
            for (place, byte) in buffer[..read].iter().enumerate() {
                assert_eq!(*byte, pattern(received + place), "at {}", received + place);
            }
            received += read;
        }
    });
    let started = Instant::now();
    from.run(move || {
        let to = SocketAddr::from((address, port));
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let data: Vec<u8> = (0..length).map(pattern).collect();
        stream.write_all(&data).unwrap();
    })
    .await
    .unwrap();
    assert_eq!(receiver.join().unwrap(), length);
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap();
    u64::try_from(length).unwrap() * 8 / micros.max(1)
}

/// Does not repeat where packets begin.
fn pattern(position: usize) -> u8 {
    let mixed = position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    mixed.to_le_bytes()[0]
}
