//! Whether macOS may keep the local network from this program.
//!
//! Since version 15 it asks the user, for all of the local network and not for multicast alone, and a program that may not use it is told
//! no more than that there is no way to the other machine. What is started from Terminal or over ssh is not asked about.

use std::net::{IpAddr, SocketAddr};

use transport::is_near;

/// What to do about addresses that do not answer: this advice, and on a Mac a look at what the user has allowed.
pub(super) fn advice_for(addresses: &[SocketAddr], advice: &str) -> String {
    let is_local = |ip: IpAddr| !ip.is_loopback() && is_near(ip);
    advice_on(cfg!(target_os = "macos") && addresses.iter().any(|address| is_local(address.ip())), advice)
}

fn advice_on(may_be_kept: bool, advice: &str) -> String {
    match may_be_kept {
        true => format!(
            "Does macOS let this program use the local network (System Settings, Privacy & Security, Local Network)? {advice}"
        ),
        false => advice.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_permission_is_asked_about_where_it_may_be_lacking() {
        assert_eq!(advice_on(false, "Try again"), "Try again");
        let said = advice_on(true, "Try again");
        assert!(said.contains("Local Network") && said.ends_with("? Try again"), "{said}");
        assert_eq!(advice_for(&["127.0.0.1:9999".parse().unwrap()], "Try again"), "Try again");
    }
}
