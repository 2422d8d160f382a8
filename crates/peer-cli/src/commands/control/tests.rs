//! How a daemon is talked to: what is asked for, and what is printed of the answer.

use super::*;

#[test]
fn a_limit_is_a_rate_or_a_word() {
    assert_eq!(rate_limit("50mbit"), Ok(RateLimit::Rate(6_250_000)));
    assert_eq!(rate_limit("none"), Ok(RateLimit::Rate(0)));
    assert_eq!(rate_limit("Default"), Ok(RateLimit::Word(RateWord::Default)));
    assert!(rate_limit("0").is_err() && rate_limit("fast").is_err());
    assert_eq!(limits_words((0, 1 << 20)), format!("Sending: unlimited. Receiving: {}.", amounts::rate(1 << 20)));
}

#[test]
fn tickets_are_asked_for_as_they_are_and_paths_from_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.bin");
    std::fs::write(&file, "").unwrap();
    let digest = |byte| protocol::Digest([byte; 32]);
    let ticket_of = |content| {
        let (tracker, addresses) = (protocol::PeerId(digest(1)), vec![([10, 0, 0, 1], 9).into()]);
        Ticket::new(tracker, addresses, protocol::ContentId(digest(content))).unwrap().to_string()
    };
    let ticket = ticket_of(2);
    let socket = SocketArguments { socket: None };
    let mut arguments = AddArguments {
        what: vec![ticket.clone(), file.display().to_string()],
        output: None,
        force: false,
        only: Vec::new(),
        control: ControlArguments { socket, json: false },
    };
    let asked = |arguments: &AddArguments| -> Result<Vec<String>, Failure> {
        let what = |request| match request {
            Request::Add { what, .. } => what,
            other => panic!("{other:?}"),
        };
        Ok(requests(arguments)?.into_iter().map(what).collect())
    };
    assert_eq!(asked(&arguments).unwrap(), [&*ticket, &absolute_text(&file).unwrap()]);
    arguments.what[0] = format!("{ticket},{}", ticket_of(3));
    let failure = asked(&arguments).unwrap_err();
    assert!(failure.code == ExitCode::Usage && failure.message.starts_with("these are 2 tickets"), "{failure:?}");
    arguments.what[0] = ticket;
    arguments.what[1].push('x');
    assert_eq!(asked(&arguments).unwrap_err().code, ExitCode::NotFound);
}
