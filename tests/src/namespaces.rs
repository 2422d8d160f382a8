//! Machines of network namespaces that a bridge joins. Only root can make them; where they cannot be made, a story says that it
//! is skipped.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use testbed::programs::at_home;

use crate::machines::Machines;
use crate::{Process, peer_cli};

/// Namespaces joined by a bridge in one of them; they go with this.
pub struct Network {
    names: Vec<String>,
}

/// Runs `ip` with these words, and says whether it liked them.
pub fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    output.is_ok_and(|output| output.status.success())
}

impl Network {
    /// A namespace of each name, with an `eth0` at this address; nothing where they cannot be made.
    pub fn new(machines: &[(&str, &str)]) -> Option<Self> {
        // Tests run beside each other.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let hub = format!("p2p-{}-{number}", std::process::id());
        let mut network = Network { names: Vec::new() };
        if !network.add(&hub) || !ip(&format!("-n {hub} link add hub type bridge mcast_snooping 0")) {
            // Past what the test harness catches.
            let mut uncaught = std::io::stderr();
            writeln!(uncaught, "skipped: network namespaces cannot be made here (are you root?)").unwrap();
            return None;
        }
        assert!(ip(&format!("-n {hub} link set hub up")));
        for (number, (name, address)) in machines.iter().enumerate() {
            let name = network.name(name);
            assert!(network.add(&name), "a second namespace");
            let port = format!("port{number}");
            assert!(ip(&format!("-n {hub} link add {port} type veth peer name eth0 netns {name}")));
            assert!(ip(&format!("-n {hub} link set {port} master hub up")));
            assert!(ip(&format!("-n {name} link set lo up")) && ip(&format!("-n {name} link set eth0 up")));
            assert!(address.is_empty() || ip(&format!("-n {name} addr add {address}/24 dev eth0")));
        }
        Some(network)
    }

    /// The namespace of a machine.
    pub fn name(&self, machine: &str) -> String {
        format!("{}-{machine}", self.names[0])
    }

    fn add(&mut self, name: &str) -> bool {
        let added = ip(&format!("netns add {name}"));
        if added {
            self.names.push(name.to_owned());
        }
        added
    }

    /// Runs `ip` on a machine.
    pub fn ip(&self, machine: &str, arguments: &str) {
        assert!(ip(&format!("-n {} {arguments}", self.name(machine))), "ip {arguments}");
    }

    /// The same command on a machine.
    pub fn on(&self, machine: &str, inner: &Command) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(machine)]).arg(inner.get_program()).args(inner.get_args());
        for (key, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(folder) = inner.get_current_dir() {
            command.current_dir(folder);
        }
        command
    }

    /// `peer-cli` on a machine, which says nothing to the local network.
    pub fn start(&self, machines: &Machines, machine: &str, arguments: &[&str]) -> Process {
        let mut inner = peer_cli();
        inner.current_dir(machines.folder(machine)).args(arguments);
        Process::start(machine, self.on(machine, &inner))
    }

    /// `peer-cli` on a machine, as a user starts it there: with a home, and the local network.
    pub fn start_for_user(&self, machines: &Machines, machine: &str, arguments: &[&str]) -> Process {
        let mut inner = peer_cli();
        inner.current_dir(machines.folder(machine)).args(arguments).env_remove("P2P_NO_LAN");
        at_home(&mut inner, &machines.home(machine));
        Process::start(machine, self.on(machine, &inner))
    }

    /// Hears from now on, on a machine at this address, what is sent to the beacon's group.
    pub fn listen(&self, machine: &str, at: Ipv4Addr) -> Listener {
        let namespace = File::open(format!("/run/netns/{}", self.name(machine))).expect("a namespace");
        let heard = Arc::<Mutex<Vec<(IpAddr, Vec<u8>)>>>::default();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let kept = Arc::downgrade(&heard);
        // The namespace is the thread's alone.
        std::thread::spawn(move || {
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network)).unwrap();
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, lan::PORT)).unwrap();
            socket.join_multicast_v4(&lan::GROUP_V4, &at).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            ready.send(()).unwrap();
            let mut buffer = [0; 2048];
            while let Some(kept) = kept.upgrade() {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    kept.lock().unwrap().push((from.ip(), buffer[..length].to_vec()));
                }
            }
        });
        is_ready.recv().expect("it listens");
        Listener(heard)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}"));
        }
    }
}

/// Packets, and where each came from.
type Packets = Vec<(IpAddr, Vec<u8>)>;

/// Who hears what is sent to the beacon's group, as anyone in the network can.
pub struct Listener(Arc<Mutex<Packets>>);

impl Listener {
    /// What has come from an address so far.
    pub fn from(&self, address: &str) -> Vec<Vec<u8>> {
        let address: IpAddr = address.parse().unwrap();
        let heard = self.0.lock().unwrap();
        heard.iter().filter(|(from, _)| *from == address).map(|(_, packet)| packet.clone()).collect()
    }
}
