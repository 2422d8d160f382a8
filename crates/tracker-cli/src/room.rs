//! How many peers a tracker has room for. It says so at the start, so that its operator can raise the limits before more peers come.

use bytesize::ByteSize;
use transport::Kind;

/// In a line, by transport: as memory allows, and over TCP as descriptors do.
pub fn room(kind: Kind, memory: ByteSize, [quic, tcp]: [u64; 2], sockets: usize) -> String {
    let few = (sockets as u64) < tcp;
    let over_quic = format!("{} peers over QUIC", rounded(quic));
    let over_tcp = match few {
        true => format!("{} over TCP (ulimit -n)", rounded(sockets as u64)),
        false => format!("{} over TCP", rounded(tcp)),
    };
    let memory = memory.display().iec();
    match kind {
        Kind::Quic => format!("Room for {over_quic} (--memory {memory})"),
        Kind::Tcp => format!("Room for peers: {over_tcp} (--memory {memory})"),
        _ => format!("Room for {over_quic} or {over_tcp} (--memory {memory})"),
    }
}

/// Two digits that count, and commas: what a peer takes is not the same for all.
fn rounded(count: u64) -> String {
    let unit = 10_u64.pow(count.max(1).ilog10().saturating_sub(1));
    let digits = (count / unit * unit).to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_said_by_what_bounds_it() {
        let memory = ByteSize(1 << 30);
        let said = room(Kind::Auto, memory, [21_234, 35_678], 100_000);
        assert_eq!(said, "Room for 21,000 peers over QUIC or 35,000 over TCP (--memory 1.0 GiB)");
        let said = room(Kind::Auto, memory, [21_234, 35_678], 512);
        assert_eq!(said, "Room for 21,000 peers over QUIC or 510 over TCP (ulimit -n) (--memory 1.0 GiB)");
        assert_eq!(room(Kind::Quic, memory, [7, 9], 6), "Room for 7 peers over QUIC (--memory 1.0 GiB)");
    }
}
