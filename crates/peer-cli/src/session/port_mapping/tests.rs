//! Routers on loopback: one that answers as NAT-PMP says (RFC 6886), and one that speaks UPnP.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

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

#[test]
fn a_router_that_does_not_renew_is_asked_again_soon() {
    let (hour, pause) = (Some(Duration::from_secs(3600)), Duration::from_secs(60));
    assert_eq!(time_to_ask(hour, 0, pause), RENEW);
    assert_eq!(time_to_ask(hour, 1, pause), SOONEST);
    assert_eq!(time_to_ask(Some(Duration::from_secs(120)), 0, pause), Duration::from_secs(60));
    assert_eq!(time_to_ask(Some(Duration::ZERO), 0, pause), SOONEST);
    assert_eq!(time_to_ask(Some(Duration::MAX), 0, pause), RENEW, "it may have forgotten what it granted for good");
    assert_eq!(time_to_ask(None, 0, pause), pause);
}

/// Answers as a router that grants ports by UPnP for good and no other way. Notes the leases that it was asked for.
async fn permanent_router(listener: TcpListener, leases: Arc<Mutex<Vec<u32>>>) {
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        while !request.contains("</s:Envelope>") {
            let mut buffer = [0; 4096];
            let Ok(count @ 1..) = socket.read(&mut buffer).await else { break };
            request.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        let lease = request.split_once("<NewLeaseDuration>").map(|(_, rest)| rest.split_once('<').unwrap().0);
        let lease: Option<u32> = lease.map(|lease| lease.parse().unwrap());
        leases.lock().unwrap().extend(lease);
        let (status, body) = match lease {
            None if request.contains("GetExternalIPAddress") => {
                let ip = "<NewExternalIPAddress>203.0.113.7</NewExternalIPAddress>";
                ("200 OK", format!("<GetExternalIPAddressResponse>{ip}</GetExternalIPAddressResponse>"))
            }
            None => ("200 OK", "<DeletePortMappingResponse/>".to_owned()),
            Some(0) => ("200 OK", "<AddPortMappingResponse/>".to_owned()),
            Some(_) => {
                let error =
                    "<errorCode>725</errorCode><errorDescription>OnlyPermanentLeasesSupported</errorDescription>";
                let fault = format!("<Fault><detail><UPnPError>{error}</UPnPError></detail></Fault>");
                ("500 Internal Server Error", fault)
            }
        };
        let body = format!("<Envelope><Body>{body}</Body></Envelope>");
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        socket.write_all((head + &body).as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_router_that_knows_permanent_leases_alone_is_asked_for_one() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (at, leases) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<u32>>>::default());
    let answering = tokio::spawn(permanent_router(listener, leases.clone()));
    let (router, lan) = (Router::Upnp(router::gateway(at)), lan().unwrap());
    let Ok(mut granted) = router.ask(&lan, 9999, Carrier::Udp).await else { panic!("it grants nothing") };
    assert_eq!(granted.address, SocketAddr::from(([203, 0, 113, 7], 9999)));
    assert!(granted.lease() > RENEW, "it has no end");
    granted.renew(&lan).await.unwrap();
    granted.give_back().await;
    assert_eq!(*leases.lock().unwrap(), [3600, 0, 0]);
    answering.abort();
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
