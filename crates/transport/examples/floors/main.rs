//! What the machine can do without us: raw quinn and TLS over TCP, memory to memory, in two processes.
//!
//! `floors serve quic|tls` prints the port that it listens on and sends each client as many bytes as it asks for;
//! `floors fetch quic|tls PORT BYTES MTU` takes them and throws them away. The settings are the very file that the
//! transport uses, everything runs on one thread a process, and nothing is stored, hashed or proven: this is the floor
//! that the data path is measured against.

#[allow(dead_code, reason = "it is the transport's own file, and a floor needs less of it")]
#[path = "../../src/quic/settings.rs"]
mod settings;
#[allow(dead_code, reason = "as above")]
#[path = "../../src/quic/socket.rs"]
mod socket;

mod quic;
mod tls;

/// Bytes handed over at once.
const CHUNK: usize = 256 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match arguments[..] {
        ["serve", "quic", mtu] => quic::serve(number(mtu) as u16).await,
        ["serve", "tls"] => tls::serve().await,
        ["fetch", "quic", port, bytes, mtu] => {
            quic::fetch(number(port) as u16, number(bytes), number(mtu) as u16).await
        }
        ["fetch", "tls", port, bytes] => tls::fetch(number(port) as u16, number(bytes)).await,
        _ => panic!("floors serve quic MTU | serve tls | fetch quic PORT BYTES MTU | fetch tls PORT BYTES"),
    }
}

/// Tells the starting program where we listen.
fn listening(port: u16) {
    println!("{port}");
}
