//! What stands where in the help of `peer-cli`.

use settings::{Idle, Layout};

/// Commands that move no pieces.
const LOOKS: &[&str] = &["ls", "watch", "inspect", "doctor", "publish"];

/// Which flags stand under which heading, which of them `-h` shows, and which a command does not take.
pub const LAYOUT: Layout = Layout {
    headings: &[
        (
            "Network",
            &[
                "tracker-port",
                "port",
                "listeners",
                "bind",
                "announce",
                "ticket-address",
                "no-port-mapping",
                "dial-private",
                "lan",
                "no-lan",
                "tracker-id",
                "transport",
                "mtu",
                "congestion",
            ],
        ),
        ("Origins", &["origin", "origin-fallback", "origin-allow", "origin-rate", "name-origin", "endpoint"]),
        ("Over HTTP", &["gateway", "gateway-token", "gateway-host", "s3-bucket", "oci-origin", "hf-origin"]),
        ("Closed swarms", &["ca", "cert", "key", "identity"]),
        (
            "Tuning",
            &[
                "hash",
                "piece-size",
                "storage",
                "budget",
                "fair",
                "site",
                "keep-free",
                "verify-on-disk",
                "tracker-memory",
                "cache",
                "certs",
                "hashes",
                "commands",
                "log-level",
                "log-file",
                "log-format",
                "state",
                "socket",
                "metrics",
                "config",
            ],
        ),
    ],
    short: &[
        ("peer-cli", &["help"]),
        (
            "join",
            &["tracker-ip", "seeder", "file", "port", "tracker-port", "exit-when-done", "up-rate", "wait", "help"],
        ),
        ("get", &["output", "only", "force", "seed-for", "tracker-ip", "up-rate", "wait", "json", "help"]),
        ("share", &["open", "expires", "receivers", "qr", "name", "tracker-ip", "up-rate", "json", "help"]),
        ("gateway", &["open", "tracker-ip", "output", "gateway", "help"]),
        ("ls", &["only", "watch", "tracker-id", "wait", "json", "help"]),
        ("watch", &["only", "until-complete", "copies", "tracker-id", "wait", "json", "help"]),
        ("inspect", &["tracker-ip", "tracker-id", "wait", "json", "help"]),
        ("doctor", &["tracker-ip", "tracker-id", "output", "json", "help"]),
        ("daemon", &["output", "at-once", "open", "tracker-ip", "up-rate", "help"]),
        ("hash", &["hash", "piece-size", "hashes", "follow-links", "help"]),
        ("publish", &["only", "beside", "tracker-ip", "open", "help"]),
        ("verify", &["id", "manifest", "hashes", "help"]),
    ],
    idle: &[
        Idle {
            commands: LOOKS,
            flags: &[
                "announce",
                "up-rate",
                "down-rate",
                "budget",
                "site",
                "fair",
                "storage",
                "congestion",
                "keep-free",
                "verify-on-disk",
            ],
            why: "it neither sends nor receives pieces",
        },
        Idle { commands: LOOKS, flags: &["identity"], why: "nobody needs to know who asks" },
        Idle {
            commands: LOOKS,
            flags: &["commands", "quiet", "no-progress"],
            why: "it says what was asked for, and ends",
        },
        Idle {
            commands: &["watch", "inspect", "doctor", "publish"],
            flags: &["lan", "no-lan"],
            why: "it asks the tracker alone",
        },
        Idle { commands: &["ls", "watch", "publish"], flags: &["dial-private"], why: "it talks to the tracker alone" },
        Idle { commands: &["ls", "watch", "doctor", "publish"], flags: &["hashes"], why: "it reads no manifests" },
        Idle {
            commands: &["gateway"],
            flags: &["commands", "no-progress"],
            why: "it draws nothing and takes no commands",
        },
        Idle {
            commands: &["daemon"],
            flags: &["commands", "no-progress", "json"],
            why: "it is controlled by other commands: `peer-cli status --json` says how everything stands",
        },
        Idle { commands: &["share"], flags: &["down-rate", "budget", "verify-on-disk"], why: "it downloads nothing" },
    ],
    aside: &["add", "rm", "pause", "resume", "prioritise", "limit", "status"],
};
