//! What an identity, a trust and a folder of a closed swarm promise.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use rcgen::PKCS_ED25519;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, HandshakeKind, ServerConnection};
use webpki::KeyUsage;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn checked(trust: &Trust, identity: &Identity) -> Result<PeerId, Error> {
    trust.check(&identity.certificate, &[], UnixTime::now(), KeyUsage::client_auth())
}

/// A fresh identity that this authority has signed.
fn member(authority: &Authority) -> Identity {
    authority.certify("member", &Identity::generate().unwrap(), from_now(DAY)).unwrap()
}

#[test]
fn only_one_self_signed_ed25519_certificate_opens_an_open_swarm() {
    let check = |end: &CertificateDer<'_>, rest: &[CertificateDer<'_>]| {
        Trust::Anyone.check(end, rest, UnixTime::now(), KeyUsage::server_auth())
    };
    let ours = Identity::generate().unwrap();
    assert_eq!(check(&ours.certificate, &[]).ok(), Some(ours.id));
    assert!(check(&ours.certificate, std::slice::from_ref(&ours.certificate)).is_err());

    let params = || CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
    let ecdsa = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    assert!(check(params().self_signed(&ecdsa).unwrap().der(), &[]).is_err());

    let (key, signer) = (KeyPair::generate_for(&PKCS_ED25519).unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let by_another = params().signed_by(&key, &rcgen::Issuer::new(params(), signer)).unwrap();
    assert!(check(by_another.der(), &[]).is_err());
    assert!(check(&member(&Authority::generate().unwrap()).certificate, &[]).is_err());
}

#[test]
fn a_closed_swarm_takes_what_its_authorities_signed_and_nothing_else() {
    let (ours, other) = (Authority::generate().unwrap(), Authority::generate().unwrap());
    let (friend, stranger) = (member(&ours), member(&other));
    assert_eq!(checked(&ours.trust(), &friend).ok(), Some(friend.id), "the id is that of the key, as ever");
    assert!(checked(&ours.trust(), &stranger).is_err());
    assert!(checked(&ours.trust(), &Identity::generate().unwrap()).is_err());
    // The authority itself is nobody's peer, and a peer is no authority.
    assert!(ours.trust().check(&ours.certificate_for_tests(), &[], UnixTime::now(), KeyUsage::client_auth()).is_err());
    let by_a_member = ours.signed_by_a_member_for_tests(&friend);
    assert!(checked(&ours.trust(), &by_a_member).is_err());
    // No chain, though it would lead to the authority.
    let chain = [friend.certificate.clone()];
    assert!(ours.trust().check(&by_a_member.certificate, &chain, UnixTime::now(), KeyUsage::client_auth()).is_err());
}

#[test]
fn a_certificate_counts_in_its_time_only() {
    let authority = Authority::generate().unwrap();
    let now = SystemTime::now();
    for valid in [now - 9 * DAY..now - 2 * DAY, now + 2 * DAY..now + 9 * DAY] {
        let late = authority.certify("late", &Identity::generate().unwrap(), valid).unwrap();
        let error = checked(&authority.trust(), &late).unwrap_err().to_string();
        assert!(error.contains("expired") || error.contains("not valid yet"), "{error}");
    }
    // When the authority's own time is over, so is that of all that it signed.
    let friend = authority.certify("friend", &Identity::generate().unwrap(), from_now(9000 * DAY)).unwrap();
    let later = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + 4000 * DAY);
    assert!(authority.trust().check(&friend.certificate, &[], later, KeyUsage::client_auth()).is_err());
}

#[test]
fn a_certificate_lasts_no_longer_than_its_authority() {
    let authority = Authority::generate().unwrap();
    let member = |days| authority.certify("member", &Identity::generate().unwrap(), from_now(days * DAY)).unwrap();
    let until = |trust: &Trust, identity: &Identity| {
        trust
            .until(&identity.certificate)
            .map(|end| end.duration_since(SystemTime::now()).unwrap().as_secs() / DAY.as_secs())
    };
    assert_eq!(until(&authority.trust(), &member(10)), Some(10));
    assert_eq!(until(&authority.trust(), &member(9000)), Some(3650));
    // A peer that is not taken has no end to wait for, and in an open swarm none has.
    assert_eq!(until(&Authority::generate().unwrap().trust(), &member(10)), None);
    assert_eq!(until(&Trust::Anyone, &Identity::generate().unwrap()), None);
}

#[test]
fn an_identity_outlives_its_process_and_its_key_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = (folder.path().join("tracker.key"), folder.path().join("tracker.pem"));
    let made = Identity::load_or_create(&key).unwrap();
    made.write_certificate(&certificate).unwrap();
    assert_eq!(Identity::load_or_create(&key).unwrap().peer_id(), made.peer_id());
    assert_eq!(peer_id_of_certificate_pem(&certificate).unwrap(), made.peer_id());
    assert_private(&key);
    fs::write(&key, "nonsense").unwrap();
    assert!(matches!(Identity::load_or_create(&key), Err(IdentityError::Malformed(_))));
}

/// What a full disk left before keys were written beside: a key was never used, so another does as well.
#[test]
fn an_empty_key_is_made_anew() {
    for blank in ["", "\n", "\0\0\0\0"] {
        let folder = tempfile::tempdir().unwrap();
        let (certs, key) = (Certs::new(folder.path()), folder.path().join("tracker.key"));
        fs::write(&key, blank).unwrap();
        let made = certs.open_tracker().unwrap().unwrap();
        assert_eq!(certs.open_tracker().unwrap().unwrap().peer_id(), made.peer_id(), "{blank:?}");
        assert_private(&key);
    }
}

/// Others may know the id that is lost with it.
#[test]
fn an_empty_key_whose_certificate_is_there_is_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (certs, key) = (Certs::new(folder.path()), folder.path().join("tracker.key"));
    certs.open_tracker().unwrap();
    fs::write(&key, "").unwrap();
    for error in [certs.open_tracker().err().unwrap(), certs.provision(&request(&[], false)).unwrap_err()] {
        assert!(matches!(error, IdentityError::LostKey { .. }), "{error}");
    }
    assert_eq!(fs::read(&key).unwrap(), b"");
}

#[test]
fn a_tracker_starts_from_a_folder_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let certs = Certs::new(folder.path());
    let id = certs.open_tracker().unwrap().unwrap().peer_id();
    let before = fs::metadata(folder.path().join("tracker.pem")).unwrap().modified().unwrap();
    assert_eq!(certs.open_tracker().unwrap().unwrap().peer_id(), id);
    assert_eq!(fs::metadata(folder.path().join("tracker.pem")).unwrap().modified().unwrap(), before);
}

#[test]
fn programs_that_start_at_once_agree_on_one_key() {
    for blank in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        if blank {
            fs::write(&key, "").unwrap();
        }
        let start = || Identity::load_or_create(&key).unwrap().peer_id();
        let ids: Vec<_> = std::thread::scope(|scope| {
            let programs: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            programs.into_iter().map(|program| program.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == start()), "{blank}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{blank}");
    }
}

/// A disk that was full between its two files: nobody has seen a certificate, and a new one says the same.
#[test]
fn an_authority_without_a_certificate_gets_one() {
    let folder = tempfile::tempdir().unwrap();
    let (certs, path) = (Certs::new(folder.path()), |name: &str| folder.path().join(name));
    certs.provision(&request(&["peer-1"], false)).unwrap();
    let before = Trust::authorities(&[path("ca.pem")]).unwrap();
    fs::remove_file(path("ca.pem")).unwrap();
    let done = certs.provision(&request(&["peer-2"], false)).unwrap();
    assert!(
        done.contains(&FileChange::Made(path("ca.pem"))) && done.contains(&FileChange::Kept(path("ca.key"))),
        "{done:?}"
    );
    assert!(done.contains(&FileChange::Kept(path("tracker.pem"))), "{done:?}");
    // Those who have the certificate from before need no other.
    assert!(Identity::load(&path("peer-2.pem"), &path("peer-2.key"), &before).is_ok());
    for name in ["ca.pem", "peer-1.pem"] {
        fs::write(path(name), "").unwrap();
    }
    certs.provision(&request(&["peer-1"], false)).unwrap();
    assert!(Identity::load(&path("peer-1.pem"), &path("peer-1.key"), &before).is_ok());
    // One that never signed anything is none.
    let fresh = tempfile::tempdir().unwrap();
    fs::write(fresh.path().join("ca.key"), "").unwrap();
    Certs::new(fresh.path()).provision(&request(&["peer-1"], false)).unwrap();
    assert_private(&fresh.path().join("ca.key"));
}

#[test]
fn what_killed_writers_left_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    for left in ["tracker.pem.new", ".p2p-fileshare-abcdef.new"] {
        fs::write(folder.path().join(left), "half").unwrap();
    }
    Certs::new(folder.path()).open_tracker().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["tracker.key", "tracker.pem"]);
}

fn assert_private(key: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600, "{}", key.display());
    }
    #[cfg(not(unix))]
    let _ = key;
}

fn request(names: &[&str], rotate: bool) -> CertRequest {
    CertRequest { names: names.iter().map(|name| (*name).to_owned()).collect(), lifetime: 365 * DAY, rotate }
}

#[test]
fn a_folder_is_filled_once_and_added_to_without_a_change_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (certs, path) = (Certs::new(folder.path()), |name: &str| folder.path().join(name));
    let done = certs.provision(&request(&["peer-1", "peer-2"], false)).unwrap();
    assert!(done.iter().all(|done| matches!(done, FileChange::Made(_))), "{done:?}");
    ["ca.key", "tracker.key", "peer-1.key", "peer-2.key"].iter().for_each(|key| assert_private(&path(key)));
    let before = fs::read(path("peer-1.pem")).unwrap();
    let done = certs.provision(&request(&["peer-1", "new"], false)).unwrap();
    let made: Vec<_> = done.iter().filter(|done| matches!(done, FileChange::Made(_))).collect();
    assert_eq!(made, [&FileChange::Made(path("new.key")), &FileChange::Made(path("new.pem"))]);
    assert_eq!(fs::read(path("peer-1.pem")).unwrap(), before);
    // Machines of clouds have a domain.
    let named = "ip-10-0-1-2.eu-west-1.compute.internal";
    certs.provision(&request(&[named], false)).unwrap();
    assert_private(&path(&format!("{named}.key")));
    for bad in ["ca", "tracker", "", "../x", "a/b", ".a", "a.", "a..b", "ä"] {
        assert!(matches!(certs.provision(&request(&[bad], false)), Err(IdentityError::Name(_))), "{bad:?}");
    }
    // The authority's certificate alone: no other is made in its place, which nobody would trust.
    fs::remove_file(path("ca.key")).unwrap();
    assert!(matches!(certs.provision(&request(&[], false)), Err(IdentityError::File { .. })));
}

#[test]
fn a_certificate_that_ends_soon_is_made_anew_for_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let (certs, pem) = (Certs::new(folder.path()), folder.path().join("peer-1.pem"));
    certs.provision(&request(&["peer-1"], false)).unwrap();
    let authority = Authority::load(&folder.path().join("ca.pem"), &folder.path().join("ca.key")).unwrap();
    let peer = Identity::load_or_create(&folder.path().join("peer-1.key")).unwrap();
    let now = SystemTime::now();
    authority.certify("peer-1", &peer, now - 9 * DAY..now - 3 * DAY).unwrap().write_certificate(&pem).unwrap();
    let error = certs.free_peer(&authority.trust()).err().unwrap();
    assert!(matches!(error, IdentityError::Expired { .. }), "{error}");
    assert!(error.to_string().contains("expired on 20"), "{error}");
    let done = certs.provision(&request(&["peer-1"], false)).unwrap();
    assert!(done.contains(&FileChange::Renewed(pem)), "{done:?}");
    assert_eq!(certs.free_peer(&authority.trust()).unwrap().peer_id(), peer.peer_id());
}

#[test]
fn each_peer_of_a_folder_takes_a_certificate_that_no_running_peer_uses() {
    let folder = tempfile::tempdir().unwrap();
    let certs = Certs::new(folder.path());
    let names: Vec<_> = (1..=11).map(|number| format!("peer-{number}")).collect();
    certs.provision(&request(&names.iter().map(String::as_str).collect::<Vec<_>>(), false)).unwrap();
    let trust = Trust::authorities(&[folder.path().join("ca.pem")]).unwrap();
    let mut running: Vec<_> = names.iter().map(|_| certs.free_peer(&trust).unwrap()).collect();
    let id = |name: &str| peer_id_of_certificate_pem(&folder.path().join(name)).unwrap();
    assert_eq!((running[0].id, running[1].id, running[10].id), (id("peer-1.pem"), id("peer-2.pem"), id("peer-11.pem")));
    assert!(matches!(certs.free_peer(&trust), Err(IdentityError::NoneFree { used: 11, .. })));
    let (pem, key) = (folder.path().join("peer-3.pem"), folder.path().join("peer-3.key"));
    assert!(matches!(Identity::load(&pem, &key, &trust), Err(IdentityError::InUse(_))));
    // It is free again when the last use of it is over.
    let copy = running[2].clone();
    drop(running.remove(2));
    assert!(certs.free_peer(&trust).is_err());
    drop(copy);
    assert_eq!(certs.free_peer(&trust).unwrap().id, id("peer-3.pem"));
    let other = folder.path().join("peer-4.pem");
    assert!(matches!(Identity::load(&other, &key, &trust), Err(IdentityError::OtherKey { .. })));
}

#[test]
fn an_authority_is_replaced_while_both_are_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (certs, path) = (Certs::new(folder.path()), |name: &str| folder.path().join(name));
    certs.provision(&request(&["peer-1"], false)).unwrap();
    let old = Trust::authorities(&[path("ca.pem")]).unwrap();
    let before = certs.free_peer(&old).unwrap();
    let done = certs.provision(&request(&[], true)).unwrap();
    assert!(done.contains(&FileChange::Renewed(path("peer-1.pem"))), "{done:?}");
    let (both, new) = (
        Trust::authorities(&[path("ca.pem"), path("ca-old.pem")]).unwrap(),
        Trust::authorities(&[path("ca.pem")]).unwrap(),
    );
    let id = before.id;
    assert_eq!(checked(&both, &before).ok(), Some(id));
    assert!(checked(&new, &before).is_err());
    drop(before);
    let after = certs.free_peer(&new).unwrap();
    assert_eq!(after.id, id, "the key, and so the id, stays");
    assert!(checked(&both, &after).is_ok() && checked(&old, &after).is_err());
    // Both in one file will do as well.
    let bundle = [fs::read(path("ca.pem")).unwrap(), fs::read(path("ca-old.pem")).unwrap()].concat();
    fs::write(path("both.pem"), bundle).unwrap();
    let bundle = Trust::authorities(&[path("both.pem")]).unwrap();
    assert!(checked(&bundle, &after).is_ok());
    assert!(matches!(certs.provision(&request(&[], true)), Err(IdentityError::Rotating(_))));
}

#[test]
fn a_closed_swarm_is_not_opened_by_leaving_out_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let certs = Certs::new(folder.path());
    let open = certs.open_tracker().unwrap().unwrap();
    assert_eq!(certs.open_tracker().unwrap().unwrap().id, open.id);
    let done = certs.provision(&request(&[], false)).unwrap();
    assert!(done.contains(&FileChange::Kept(folder.path().join("tracker.key"))));
    assert!(done.contains(&FileChange::Renewed(folder.path().join("tracker.pem"))));
    assert!(certs.open_tracker().unwrap().is_none());
    let trust = Trust::authorities(&[folder.path().join("ca.pem")]).unwrap();
    assert_eq!(certs.tracker(&trust).unwrap().id, open.id);
}

/// One handshake in memory: how the dialler's side called it, or the first error of either side.
fn shake_hands(client: &Arc<rustls::ClientConfig>, server: &Arc<rustls::ServerConfig>) -> Result<HandshakeKind, Error> {
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    let mut wire = Vec::new();
    for _ in 0..8 {
        wire.clear();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(client.handshake_kind(), server.handshake_kind());
    Ok(client.handshake_kind().unwrap())
}

/// A dialler that would resume sessions, and send early data, if only it were let.
#[test]
fn no_session_is_resumed_so_no_check_is_skipped() {
    let authority = Authority::generate().unwrap();
    let (listener, dialer) = (member(&authority), member(&authority));
    let mut eager =
        dialer.client_tls(&authority.trust(), crate::Whom::Peer(listener.id), Arc::new(OnceLock::new())).unwrap();
    eager.resumption = rustls::client::Resumption::in_memory_sessions(8);
    eager.enable_early_data = true;
    let eager = Arc::new(eager);
    let server = Arc::new(listener.server_tls(&authority.trust(), None).unwrap());
    for _ in 0..3 {
        assert_eq!(shake_hands(&eager, &server), Ok(HandshakeKind::Full));
    }
    // After a change of authority, earlier members are out.
    let new = Authority::generate().unwrap();
    let server = Arc::new(listener.server_tls(&new.trust(), None).unwrap());
    let error = shake_hands(&eager, &server);
    assert_eq!(error, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
}

#[test]
fn a_private_key_is_found_whatever_a_text_has_made_of_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    Identity::load_or_create(&path).unwrap();
    let key = fs::read_to_string(&path).unwrap();
    let wide: Vec<u8> = key.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut archive = vec![0; 512];
    archive.extend_from_slice(key.as_bytes());
    archive.extend_from_slice(&[0; 1024]);
    for (name, text) in [
        ("as it is", key.clone().into_bytes()),
        ("with a mark of its encoding", format!("\u{feff}{key}").into_bytes()),
        ("with the line ends of Windows", key.replace('\n', "\r\n").into_bytes()),
        ("indented", key.replace('\n', "\n    ").into_bytes()),
        ("quoted", format!("> {}", key.replace('\n', "\n> ")).into_bytes()),
        ("in JSON", format!("{{\"key\": \"{}\"}}", key.replace('\n', "\\n")).into_bytes()),
        ("in UTF-16", wide),
        ("in an archive", archive),
        ("behind another section", format!("-----BEGIN PRIVATE KEY-----\nMIIB\n{key}").into_bytes()),
    ] {
        assert!(holds_private_key(&text), "{name}");
    }
    let other =
        "-----BEGIN PRIVATE KEY-----\nMIIBVQIBADANBgkqhkiG9w0BAQEFAASCAT8wggE7AgEAAkEA\n-----END PRIVATE KEY-----\n";
    for text in ["", "PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----", other] {
        assert!(!holds_private_key(text.as_bytes()), "{text}");
    }
}
