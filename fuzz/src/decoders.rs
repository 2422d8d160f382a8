//! Whatever comes over the wire or lies in a file.

use std::fmt::Debug;

use protocol::{
    Answer, Code, CodeError, CodeMessage, Manifest, ManifestHeader, PeerMessage, Query, Request, Ticket, TrackerEvent,
    TrackerRequest, Wire, check_local_name, check_name, decorated_name, is_unprintable, mapped_name, unmapped_name,
};

/// Any bytes are a message or an error; a message has an encoding, which is the same message.
pub fn messages(bytes: &[u8]) {
    fn travels<T: Wire + PartialEq + Debug>(bytes: &[u8]) {
        if let Ok(message) = T::decode(bytes) {
            assert_eq!(T::decode(&message.encode().expect("what was decoded fits")), Ok(message));
        }
    }
    travels::<PeerMessage>(bytes);
    travels::<Request>(bytes);
    travels::<Answer>(bytes);
    travels::<TrackerRequest>(bytes);
    travels::<TrackerEvent>(bytes);
    travels::<CodeMessage>(bytes);
}

/// Any bytes are a manifest or an error. What is taken keeps its promises.
pub fn manifest(bytes: &[u8]) {
    let header = ManifestHeader::decode(bytes);
    let framed = [b"P2PM\x01", &(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
    let with_header = header.is_ok().then(|| Manifest::decode(framed.into()));
    for manifest in [Some(Manifest::decode(bytes.to_vec().into())), with_header].into_iter().flatten().flatten() {
        let geometry = manifest.geometry();
        assert_eq!(manifest.header().files.len(), geometry.sizes().len());
        for piece in 0..geometry.pieces() {
            let at = geometry.piece(piece).expect("it exists");
            assert!(at.len > 0 && at.offset + at.len as u64 <= geometry.sizes()[at.file]);
            let _ = manifest.digest(piece);
        }
        assert!(check_name(&manifest.header().name).is_ok());
        for file in &manifest.header().files {
            assert!(file.path.split('/').all(|part| check_name(part).is_ok()));
        }
    }
}

/// No name that is taken leads anywhere but to one file in its folder.
pub fn names(bytes: &[u8]) {
    let Ok(name) = std::str::from_utf8(bytes) else { return };
    for windows in [false, true] {
        if check_local_name(name, windows).is_ok() {
            assert!(check_name(name).is_ok());
            let mut parts = std::path::Path::new(name).components();
            assert!(matches!(parts.next(), Some(std::path::Component::Normal(part)) if part == name));
            assert!(parts.next().is_none());
            assert!(!windows || !name.contains(['\\', ':']));
        }
    }
    if check_name(name).is_ok() {
        let beside = decorated_name(".", name, ".part.journal");
        assert!(check_name(&beside).is_ok() && beside.len() <= 255);
        for windows in [false, true] {
            let mapped = mapped_name(name, windows, 255, |_| false);
            assert_eq!(check_local_name(&mapped, windows), Ok(()));
            assert!(mapped != name && !mapped.chars().any(is_unprintable));
            // A longer one may end with a digest.
            assert!(name.len() > 85 || unmapped_name(&mapped).as_deref() == Some(name));
        }
    }
}

/// Any text is a ticket or an error; a ticket has one text, which stands in what it was read from.
pub fn ticket(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for text in [text.to_owned(), format!("p2p{text}")] {
        if let Ok(ticket) = text.parse::<Ticket>() {
            assert!(!ticket.addresses().is_empty() && ticket.addresses().iter().all(|address| address.port() != 0));
            let letters: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
            assert!(letters.to_ascii_lowercase().contains(&ticket.to_string()));
            assert_eq!(ticket.to_string().parse(), Ok(ticket));
        }
        let _ = Ticket::is_meant(&text);
        // A code has one text, and so has what is suggested.
        if let Some(Ok(code) | Err(CodeError::Word { suggestion: Some(code), .. })) = Code::find(&text) {
            assert_eq!(Code::find(&code.to_string()), Some(Ok(code)));
        }
        // What a tracker is asked means the same to it.
        if let Ok(query) = text.parse::<Query>() {
            assert_eq!(query.to_string().parse(), Ok(query));
        }
    }
}
