//! One quinn endpoint: a socket with large buffers, and a thread on which all of its work is done.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::Runtime;
use socket2::{Protocol, Type};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::joining::Joining;
use super::runtime::OnThread;
use super::settings;
use super::socket::Batching;
use crate::dual_stack;
use crate::thread::NetworkThread;

pub(super) struct Endpoint {
    pub(super) quinn: quinn::Endpoint,
    pub(super) thread: NetworkThread,
    pub(super) bound: SocketAddr,
}

impl Endpoint {
    /// One that takes connections if there is a `server` for them, and dials in any case.
    pub(super) fn bind(address: SocketAddr, name: String, server: Option<quinn::ServerConfig>) -> io::Result<Self> {
        let socket = bind(address)?;
        let thread = NetworkThread::start(name)?;
        let runtime: Arc<dyn Runtime> = Arc::new(OnThread(thread.handle.clone()));
        let socket = Joining::new(runtime.wrap_udp_socket(socket)?, thread.handle.clone());
        let socket = Batching::new(Arc::new(socket), settings::LARGEST_DATAGRAM.into());
        let quinn = quinn::Endpoint::new_with_abstract_socket(settings::endpoint(), server, Arc::new(socket), runtime)?;
        let bound = quinn.local_addr()?;
        Ok(Endpoint { quinn, thread, bound })
    }

    /// Whether it can send to this address.
    pub(super) fn reaches(&self, address: SocketAddr) -> bool {
        self.bound.is_ipv6() || address.is_ipv4()
    }

    /// Closes all connections and sees to it that this is sent. Stays for at most `wait` to say it again.
    pub(super) fn say_goodbye(&self, wait: Duration) -> JoinHandle<()> {
        let quinn = self.quinn.clone();
        self.thread.handle.spawn(async move {
            quinn.close(0u32.into(), b"goodbye");
            // Every connection has a task on this thread: each has run, and sent, before this one runs again.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            let _ = timeout(wait, quinn.wait_idle()).await;
        })
    }
}

/// What a system calls the limits of socket buffers.
const RAISE_BUFFERS: &str = if cfg!(target_os = "linux") {
    ": raise net.core.rmem_max and net.core.wmem_max"
} else if cfg!(target_vendor = "apple") {
    ": raise kern.ipc.maxsockbuf"
} else {
    ""
};

pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let (socket, address) = dual_stack::open(address, Type::DGRAM, Protocol::UDP)?;
    // The kernel grants what its limits allow; asking for too much is no error.
    let _ = socket.set_recv_buffer_size(settings::SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(settings::SOCKET_BUFFER);
    let reported = socket.recv_buffer_size()?.min(socket.send_buffer_size()?);
    // Linux counts its own bookkeeping and reports twice what it grants.
    let granted = if cfg!(target_os = "linux") { reported / 2 } else { reported };
    if granted < settings::SOCKET_BUFFER {
        let wanted = settings::SOCKET_BUFFER;
        tracing::info!(
            granted,
            wanted,
            "the kernel grants small socket buffers; fast links lose packets{RAISE_BUFFERS}"
        );
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
