//! A router that answers as NAT-PMP says (RFC 6886), on loopback.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

use super::*;

/// What a router was asked: the kind of request, the port and the seconds.
type Asked = Arc<Mutex<Vec<(u8, u16, u32)>>>;

/// A port that is forwarded for so many seconds, by a router that does not answer.
async fn granted(seconds: u32) -> Granted {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    Granted::until(silent.local_addr().unwrap(), Duration::from_secs(seconds.into()))
}

#[tokio::test]
async fn a_port_that_is_not_renewed_stands_until_its_lease_is_over() {
    let lan = lan().unwrap();
    let mut ports = vec![granted(3600).await, granted(0).await];
    assert!(renew_all(&lan, &mut ports).await, "it has failed");
    assert_eq!(ports.iter().map(|one| one.lease().is_zero()).collect::<Vec<_>>(), [false]);
}

/// Answers until it is dropped; with this address of its own.
async fn router(socket: Arc<UdpSocket>, outside: Ipv4Addr, asked: Asked) {
    let mut buffer = [0; 64];
    loop {
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else { continue };
        let request = &buffer[..count];
        let answer = match request {
            // PCP, which it does not know.
            [2, ..] => vec![0, 128, 0, 1, 0, 0, 0, 1],
            [0, 0] => [&[0, 128, 0, 0, 0, 0, 0, 1][..], &outside.octets()].concat(),
            [0, kind @ (1 | 2), _, _, a, b, _, _, seconds @ ..] => {
                let port = u16::from_be_bytes([*a, *b]);
                let seconds = u32::from_be_bytes(seconds.try_into().unwrap());
                asked.lock().unwrap().push((*kind, port, seconds));
                // Another port than the one that was asked for.
                let given = if seconds == 0 { 0 } else { port.wrapping_add(1) };
                let head = [0, 128 + kind, 0, 0, 0, 0, 0, 1];
                [&head[..], &port.to_be_bytes(), &given.to_be_bytes(), &seconds.to_be_bytes()].concat()
            }
            _ => continue,
        };
        let _ = socket.send_to(&answer, from).await;
    }
}

fn lan() -> Option<Lan> {
    Some(Lan { router: Ipv4Addr::LOCALHOST, own: Ipv4Addr::LOCALHOST })
}

/// One test, since all routers listen on one port.
#[tokio::test]
async fn a_router_is_asked_for_each_port_and_given_back_what_it_granted() {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 5351)).await else {
        eprintln!("skipped: port 5351 is in use on this machine");
        return;
    };
    let socket = Arc::new(socket);
    for (outside, leads_here) in [([203, 0, 113, 7], true), ([192, 168, 1, 2], false)] {
        let (outside, asked) = (Ipv4Addr::from(outside), Asked::default());
        let answering = tokio::spawn(router(socket.clone(), outside, asked.clone()));
        let mapping = PortMapping::by(lan, [9000, 9999].into());
        let told = mapping.mapped().wait_for(|mapped| mapped.asked).await.unwrap().clone();
        let expected = [9000, 9999].map(|port| {
            let address = SocketAddr::new(IpAddr::V4(outside), port + 1);
            MappedPort { port, address }
        });
        let expected: &[MappedPort] = if leads_here { &expected } else { &[] };
        assert_eq!(told.ports, expected);
        assert_eq!(told.reason.is_none(), leads_here, "{told:?}");
        mapping.end().await;
        let asked = asked.lock().unwrap().clone();
        let count = |granted| asked.iter().filter(|(_, _, seconds)| (*seconds > 0) == granted).count();
        assert_eq!((count(true), count(false)), if leads_here { (4, 4) } else { (1, 1) }, "{asked:?}");
        answering.abort();
        let _ = answering.await;
    }
}
