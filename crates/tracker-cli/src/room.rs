//! How many peers a tracker has room for. It says so at the start, so that its operator can raise the limits before more peers come.

use bytesize::ByteSize;
use transport::Kind;

/// In a line, by transport: as memory allows, and over TCP as descriptors do, where these allow fewer.
pub fn room(kind: Kind, memory: ByteSize, [quic, tcp]: [u64; 2], sockets: usize) -> String {
    let by_memory = format!("as --memory {} allows", memory.display().iec());
    let by_sockets = "as the limit of open files (ulimit -n) allows";
    let few = (sockets as u64) < tcp;
    let (quic, tcp) = (rounded(quic), rounded(tcp.min(sockets as u64)));
    match (kind, few) {
        (Kind::Quic, _) => format!("Room for {quic} peers over QUIC, {by_memory}"),
        (Kind::Tcp, false) => format!("Room for {tcp} peers over TCP, {by_memory}"),
        (Kind::Tcp, true) => format!("Room for {tcp} peers over TCP, {by_sockets}"),
        (_, false) => format!("Room for {quic} peers over QUIC or {tcp} over TCP, {by_memory}"),
        (_, true) => format!("Room for {quic} peers over QUIC, {by_memory}, or for {tcp} over TCP, {by_sockets}"),
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
        assert_eq!(said, "Room for 21,000 peers over QUIC or 35,000 over TCP, as --memory 1.0 GiB allows");
        let said = room(Kind::Auto, memory, [21_234, 35_678], 512);
        assert_eq!(
            said,
            "Room for 21,000 peers over QUIC, as --memory 1.0 GiB allows, or for 510 over TCP, as the limit of open files (ulimit -n) \
             allows"
        );
        assert_eq!(room(Kind::Quic, memory, [7, 9], 6), "Room for 7 peers over QUIC, as --memory 1.0 GiB allows");
        let said = room(Kind::Tcp, memory, [7, 9], 6);
        assert_eq!(said, "Room for 6 peers over TCP, as the limit of open files (ulimit -n) allows");
    }
}
