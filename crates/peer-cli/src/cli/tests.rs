//! What may be typed, and what is said of the rest.

use super::*;

fn parse(line: &str) -> Result<JoinArguments, clap::Error> {
    let words = std::iter::once("peer-cli").chain(line.split(' ')).map(OsString::from);
    try_parse(words, &Surroundings::default()).map(|parsed| parsed.arguments.join)
}

#[test]
fn the_manifest_of_flags_is_consistent() {
    command().debug_assert();
}

#[test]
fn a_command_line_that_cannot_be_read_is_an_event_where_events_are_wanted() {
    let wanted = |line: &str| {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        events_wanted(&words)
    };
    assert_eq!(wanted("peer-cli get --frob --json x"), Some(OutputStream::Output));
    assert_eq!(wanted("peer-cli get --frob --json x -o -"), Some(OutputStream::Errors));
    assert_eq!(wanted("peer-cli get --frob x"), None);
    assert_eq!(wanted("peer-cli share --frob -- --json"), None, "that is a file");
}

#[test]
fn every_command_that_takes_json_has_its_failures_said_as_events() {
    let ticket = ticket();
    let line = |command: &str| match command {
        "share" | "add" | "rm" | "pause" | "resume" | "prioritise" | "inspect" => format!("{command} a"),
        "get" => format!("get {ticket}"),
        "gateway" | "ls" | "watch" => format!("{command} h"),
        "join" => "join -i h -S".to_owned(),
        "limit" => "limit --up none".to_owned(),
        "publish" => "publish https://host/a".to_owned(),
        "doctor" | "status" => command.to_owned(),
        other => panic!("how is {other} typed?"),
    };
    let mut command = command();
    command.build();
    let takes_json = |command: &&clap::Command| {
        command.get_arguments().any(|flag| flag.get_long() == Some("json") && !flag.is_hide_set())
    };
    for name in command.get_subcommands().filter(takes_json).map(clap::Command::get_name) {
        let line = format!("peer-cli {} --json", line(name));
        match try_parse(line.split(' ').map(OsString::from), &Surroundings::default()) {
            Ok(parsed) => assert!(parsed.arguments.events().is_some(), "{line}"),
            Err(error) => assert!(settings::sentence(&error).contains("takes no --json"), "{line}: {error}"),
        }
    }
}

#[test]
fn help_fits_a_screen_and_says_all_under_headings() {
    let flaws = LAYOUT.flaws(command());
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
    let mut whole = command();
    let long = whole.render_long_help().to_string();
    let said = long.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("asks for 0short_story.txt, as the original does"), "{long}");
    assert_eq!(long.matches("0short_story.txt").count(), 1, "{long}");
    assert_eq!(BARE.lines().count(), 8);
}

#[test]
fn join_is_the_original_by_name() {
    let line = "-i h -S -p 9010 -m 1 2 -r1 0.2";
    let [bare, named] = [parse(line), parse(&format!("join {line}"))].map(|parsed| format!("{:?}", parsed.unwrap()));
    assert_eq!(bare, named);
    assert_eq!(parse("join -S").unwrap_err().exit_code(), 2, "-i is missing");
}

#[test]
fn a_flag_that_does_nothing_is_refused_with_the_reason() {
    let ticket = ticket();
    for (line, said) in [
        ("ls h --up-rate 1MiB", "ls takes no --up-rate: it neither sends nor receives pieces"),
        ("ls h -q", "ls takes no --quiet"),
        ("doctor --commands", "doctor takes no --commands"),
        ("inspect x --fair", "inspect takes no --fair"),
        ("send a --budget 2MiB", "share takes no --budget: it downloads nothing"),
        (&format!("share a --tracker-id {}", "ab".repeat(32)), "runs elsewhere: name that with -i"),
        ("share a -i h --tracker-memory 64MiB", "in this process"),
        (&format!("download {ticket} -i h"), "leave out --tracker-ip"),
    ] {
        let error = parse(line).map(drop).unwrap_err();
        let sentence = settings::sentence(&error);
        assert!(error.exit_code() == 2 && sentence.contains(said), "{line}: {sentence}");
    }
    // In the environment and in files they are for the commands that they count for.
    let variables = [("P2P_UP_RATE".to_owned(), "1MiB".into()), ("P2P_TRACKER_IP".to_owned(), "h".into())];
    let surroundings = Surroundings { variables: variables.into(), ..Surroundings::default() };
    for line in ["ls", &format!("get {ticket}")] {
        let words = std::iter::once("peer-cli").chain(line.split(' ')).map(OsString::from);
        assert!(try_parse(words, &surroundings).is_ok(), "{line}");
    }
}

fn ticket() -> String {
    ticket_of(2)
}

fn other_ticket() -> String {
    ticket_of(3)
}

fn ticket_of(content: u8) -> String {
    let digest = |byte| protocol::Digest([byte; 32]);
    let address = "10.0.0.1:9".parse().unwrap();
    protocol::Ticket::new(protocol::PeerId(digest(1)), vec![address], ContentId(digest(content))).unwrap().to_string()
}

/// Around a word with spaces.
const QUOTE: &str = if cfg!(windows) { "\"" } else { "'" };

#[test]
fn what_is_typed_nearly_right_is_answered_with_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a b.bin");
    std::fs::write(&file, "").unwrap();
    let path = file.to_str().unwrap();
    let ticket = ticket();
    let said = |words: &[&str]| {
        let words: Vec<_> = std::iter::once(&"peer-cli").chain(words).map(OsString::from).collect();
        let error = try_parse(words.clone(), &Surroundings::default()).map(drop).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        guess::sentence(&command(), &words, &error)
    };
    let share = said(&[path]);
    assert!(share.contains("To send it: peer-cli share ") && share.ends_with(&guess::quoted(path)), "{share}");
    assert!(said(&[path, path]).ends_with(&format!("{0} {0}", guess::quoted(path))));
    assert!(said(&["--quiet", path]).contains("To send it: "), "{}", said(&["--quiet", path]));
    assert_eq!(said(&[&ticket]), format!("To get it: peer-cli get {ticket}"));
    assert!(said(&[&ticket[..40]]).contains("ticket"), "{}", said(&[&ticket[..40]]));
    let other = other_ticket();
    for several in [&[&*ticket, &other][..], &[&format!("{ticket},{other}")]] {
        assert_eq!(said(several), "these are 2 tickets. Give each to a `peer-cli get` of its own", "{several:?}");
    }
    assert_eq!(said(&["gte", "x"]), "there is no command \"gte\"; did you mean get?");
    for (typed, meant) in [("upload", "share"), ("Seed", "share"), ("fetch", "get"), ("list", "ls"), ("top", "watch")] {
        assert_eq!(said(&[typed]), format!("there is no command {typed:?}; did you mean {meant}?"));
    }
    assert_eq!(said(&["sned", path]), "there is no command \"sned\"; did you mean send?");
    assert_eq!(said(&["x.bin", "share"]), "the command comes first: peer-cli share x.bin");
    assert_eq!(
        said(&["-o", "a b", "get", "x"]),
        "the command comes first: peer-cli get -o 'a b' x".replace('\'', QUOTE)
    );
    for (typed, meant) in [
        (&["-q", "get", "x"][..], "get -q x"),
        (&["--json", "send", "a"], "send --json a"),
        (&["-i", "localhost", "get", "x"], "get -i localhost x"),
        (&["--wait", "5s", "ls"], "ls --wait 5s"),
    ] {
        assert_eq!(said(typed), format!("the command comes first: peer-cli {meant}"));
    }
    assert_eq!(said(&["-S", "ls"]), "-S is a flag of join, not of ls");
    assert_eq!(said(&["7-violin-tadpole"]), "To get it: peer-cli get 7-violin-tadpole");
    for (command, [flag, value], why) in [
        ("share", ["--receivers", "0"], "0 is less than 1"),
        ("get", ["--tracker-port", "0"], "0 is not between 1 and 65535"),
        ("share", ["--expires", "5"], "5 is no time with a unit: write it like 30s, 5m or 2h"),
        ("get", ["--wait", "soon"], "soon is no time with a unit: write it like 30s, 5m or 2h"),
    ] {
        let sentence = said(&[command, "x", flag, value]);
        assert!(sentence.ends_with(why), "{sentence}");
    }
    assert_eq!(said(&["xyzzy"]), "there is no command \"xyzzy\": peer-cli -h lists them");
    assert_eq!(said(&["get", "x", "--forse"]), "there is no flag --forse; did you mean --force?");
    assert_eq!(
        said(&["hash", "x", "--only", "y"]),
        "--only is a flag of share, get, ls, watch, add and publish, not of hash"
    );
    assert_eq!(said(&["send", "x", "--seed-for=1h"]), "--seed-for is a flag of get, not of share");
    assert_eq!(said(&["get", "x", "-S"]), "-S is a flag of join, not of get");
    assert_eq!(said(&["hash", "x", path]), format!("{path:?} is one word too many"));
    assert_eq!(said(&["receive"]), "<TICKET|CODE|ID|NAME> is missing: peer-cli get -h shows examples");
    for (typed, flag, needed) in [
        (&["watch", "h", "--copies", "3"][..], "--copies", "--until-complete"),
        (&["-i", "h", "-m", "1"], "--missing", "--seeder"),
        (&["get", "x", "--cert=a", "--key=b"], "--cert", "--ca"),
        (&["get", "x", "--key=b"], "--key", "--ca and --cert"),
        (&["get", "x", "--origin-allow", "h"], "--origin-allow", "--origin-fallback"),
        (&["gateway", &ticket, "--open"], "--open", "--tracker-ip"),
    ] {
        assert_eq!(said(typed), format!("{flag} needs {needed}"), "{typed:?}");
    }
    // The whole line, behind what was typed already.
    let line = ["peer-cli", "get", &ticket];
    for typed in [&["peer-cli"][..], &["peer-cli", "get"]] {
        let words = typed.iter().chain(&line).map(OsString::from);
        let parsed = try_parse(words, &Surroundings::default()).unwrap();
        assert!(matches!(&parsed.arguments.command, Some(Command::Get(get)) if get.is_of_ticket()), "{typed:?}");
    }
}

#[test]
fn help_is_a_word_too() {
    let said = |words: &[&str]| {
        let words = std::iter::once(&"peer-cli").chain(words).map(OsString::from);
        let error = try_parse(words, &Surroundings::default()).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DisplayHelp);
        error.to_string()
    };
    assert_eq!(said(&["help"]), said(&["-h"]));
    assert_eq!(said(&["help", "get"]), said(&["get", "--help"]));
    assert_eq!(said(&["help", "send"]), said(&["share", "--help"]));
}

#[test]
fn the_tables_of_flags_in_the_docs_are_made_of_these() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/use/commands.md");
    settings::keep_table(page.as_ref(), command()).unwrap();
}

/// The table of commands is written by hand: it has a row for each, with its other names, and none for what is no command.
#[test]
fn the_table_of_commands_in_the_docs_has_each_of_these() {
    let page = include_str!("../../../../docs/use/commands.md");
    let table =
        page.lines().skip_while(|line| !line.starts_with("| command |")).take_while(|line| line.starts_with('|'));
    let cells: Vec<&str> = table.filter_map(|row| row.strip_prefix("| ")?.split(" | ").next()).collect();
    let words = |cell: &str| cell.split(['`', ' ', ',', ')', '(']).map(str::to_owned).collect::<Vec<_>>();
    for command in command().get_subcommands().filter(|command| command.get_name() != "man") {
        let names = |cell: &&&str| words(cell).windows(2).any(|pair| pair == ["peer-cli", command.get_name()]);
        let cell = cells.iter().find(names);
        let cell = cell.unwrap_or_else(|| panic!("commands.md has no row for {}", command.get_name()));
        for alias in command.get_all_aliases() {
            assert!(words(cell).contains(&alias.to_owned()), "{cell} lacks {alias}");
        }
    }
    for cell in cells {
        let words = words(cell);
        let mut named = words.windows(2).filter(|pair| pair[0] == "peer-cli" && !pair[1].starts_with('-'));
        assert!(named.all(|pair| command().find_subcommand(&pair[1]).is_some()), "{cell}");
    }
}

/// A new flag is none of these until it is listed.
#[test]
fn flags_of_the_working_folder_are_given_once_and_name_nothing() {
    let wrong = settings::harm_in_working_folder(&NAMES, &Cli::command(), &["site", "congestion"]);
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_other_flag_is_taken_from_the_working_folder() {
    let folder = tempfile::tempdir().unwrap();
    let working = folder.path().join("p2p-fileshare.toml");
    let surroundings = Surroundings { working: Some(working.clone()), ..Surroundings::default() };
    let plain = |words: &[&str], surroundings: &Surroundings| {
        let words = ["peer-cli", "-i", "host"].iter().chain(words).map(OsString::from).collect::<Vec<_>>();
        try_parse(words, surroundings).unwrap()
    };
    let expected = format!("{:?}", plain(&[], &Surroundings::default()).arguments);
    let mut left = Vec::new();
    for flag in Cli::command().get_arguments() {
        let Some(long) = flag.get_long().filter(|long| !["config", "tracker-ip"].contains(long)) else { continue };
        if NAMES.harmless.contains(&long) {
            continue;
        }
        std::fs::write(&working, format!("[peer-cli]\n{long} = \"/elsewhere\"\n")).unwrap();
        let Parsed { arguments, notes, .. } = plain(&[], &surroundings);
        assert_eq!(format!("{arguments:?}"), expected, "--{long}");
        assert!(notes.len() == 1 && notes[0].contains(&format!("`{long}` is not read in the")), "{notes:?}");
        left.push(long.to_owned());
    }
    for long in ["file", "seeder", "tracker-id", "bind", "announce", "dial-private", "identity", "ca", "exit-when-done"]
    {
        assert!(left.iter().any(|other| other == long), "--{long}: {left:?}");
    }
}

/// A new flag for a path is named like one, wherever it is.
#[test]
fn flags_for_paths_are_named_like_some() {
    fn look(command: &clap::Command) {
        for flag in command.get_arguments().filter(|flag| flag.get_long().is_some()) {
            let names = flag.get_value_names().unwrap_or_default();
            let is_named = names.iter().any(|name| ["FILE", "FOLDER", "DIR", "PATH"].contains(&name.as_str()));
            assert_eq!(is_named, flag.get_value_hint() == clap::ValueHint::AnyPath, "{flag}");
        }
        command.get_subcommands().for_each(look);
    }
    let mut command = Cli::command();
    command.build();
    look(&command);
}

#[test]
fn a_file_of_settings_shares_nothing_from_outside_the_input_folder() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own.toml");
    let surroundings = Surroundings { files: vec![own.clone()], ..Surroundings::default() };
    let files = |text: &str, words: &[&str]| {
        std::fs::write(&own, format!("[peer-cli]\ntracker-ip = \"h\"\n{text}")).unwrap();
        let words = std::iter::once(&"peer-cli").chain(words).map(OsString::from).collect::<Vec<_>>();
        try_parse(words, &surroundings).map(|parsed| parsed.arguments.join.file).map_err(|error| error.to_string())
    };
    for path in ["/etc/passwd", "../key", "a/b", ".", "..", "C:\\\\x", "a\\\\b", "a/"] {
        let text = format!("seeder = true\nfile = [\"a.bin\", \"{path}\"]\n");
        assert!(files(&text, &[]).unwrap_err().contains("is no name of one"), "{path}");
        assert!(files(&format!("file = \"{path}\"\n"), &["-S"]).is_err(), "{path}");
        assert_eq!(files(&text, &["-f", "../b"]).unwrap(), ["../b"], "what is typed is meant");
    }
    assert_eq!(files("seeder = true\nfile = [\"a.bin\", \"..b\"]\n", &[]).unwrap(), ["a.bin", "..b"]);
}

#[test]
fn the_originals_spellings_work() {
    let seeder = parse("-i localhost -S -p 9010 -d 9998 -m 1 2 3 -r1 0.2 -r2=0.4").unwrap();
    assert_eq!((seeder.port, seeder.tracker_port, seeder.missing), (9010, 9998, vec![1, 2, 3]));
    assert_eq!((seeder.r1, seeder.r2), (Some(0.2), Some(0.4)));
    let long = parse("-i ::1 -S --r1=0.2 --r2 0.4").unwrap();
    assert_eq!((long.r1, long.r2, long.port, long.tracker_port), (Some(0.2), Some(0.4), 9000, 9999));
    assert_eq!(parse("-i localhost").unwrap().wanted(), ["0short_story.txt"]);
}

#[test]
fn a_name_may_look_like_a_flag() {
    assert_eq!(parse("-i h -f=-r1").unwrap().file, ["-r1"]);
    assert_eq!(parse("-i h -f -r1").unwrap().file, ["-r1"]);
    assert_eq!(parse("-i h --file -S").unwrap().file, ["-S"]);
    assert_eq!(parse("-i h --file=-r1=0.3").unwrap().file, ["-r1=0.3"]);
    assert_eq!(parse("-i h -f a -f -r1 -S -r1 0.3").unwrap().file, ["a", "-r1"]);
}

#[test]
fn nonsense_is_a_usage_error() {
    for line in [
        "-S",
        "-i h -S -r1 1.5",
        "-i h -S -r1 NaN",
        "-i h -S -r1 0.8 -r2 0.2",
        "-i h -r1 0.8",
        "-i h --piece-size 1000",
        "-i h --up-rate fast",
        "-i h --listeners 0",
        "-i h -p 65535 --listeners 2",
        "-i h --transport memory",
        "-i h --hash md5",
        "-i h --announce 9000",
        "-i h --announce 10.0.0.1:0",
        "-i h --up-rate 0",
        "-i h --down-rate 1e30mbit",
        "-i h --budget 0",
        "-i h -S -m 1048576",
        "-i h -d 0",
        "-i h --log-level nonsense",
        "-i h --log-level warn,peer=nonsense",
        "-i h --cert a.pem --key a.key",
        "-i h --ca ca.pem --cert a.pem",
        "-i h --ca ca.pem --key a.key",
        "-i h --ca ca.pem --identity a.key",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}
