//! Precedence, and the sentences for what is wrong, with a program of the tests' own.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::*;

const NAMES: Names =
    Names { prefix: "P2P_", table: "program", others: &["other"], harmless: &["port", "level"], plain: &["run"] };

#[derive(Debug, Parser)]
#[command(name = "program", args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Line {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    flags: Flags,
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[arg(long, global = true, default_value = "warn")]
    level: String,
}

#[derive(Debug, Args)]
struct Flags {
    #[arg(short = 'i', long = "host", required = true)]
    host: Option<String>,
    #[arg(short, long, default_value_t = 9000)]
    port: u16,
    #[arg(short, long)]
    name: Vec<String>,
    #[arg(short, long, num_args = 1.., requires = "seeder")]
    missing: Vec<u32>,
    #[arg(short = 'S', long)]
    seeder: bool,
    #[arg(long)]
    ca: Option<String>,
    #[arg(long, conflicts_with = "ca")]
    identity: Option<String>,
    #[arg(long)]
    output: Option<PathBuf>,
    #[arg(long)]
    list: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Sub {
    #[command(visible_alias = "start")]
    Run(Flags),
    Hash {
        file: PathBuf,
        #[arg(long, default_value = "hashes")]
        hashes: PathBuf,
    },
}

/// A line, variables and a file.
struct Case {
    folder: tempfile::TempDir,
    surroundings: Surroundings,
}

impl Case {
    fn new(variables: &[(&str, &str)], file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p2p-fileshare.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect();
        Case { folder, surroundings: Surroundings { variables, working: None, files: vec!["not there".into(), path] } }
    }

    /// The file is that of the working folder, and the user has another one.
    fn working(file: &str, users: &str) -> Self {
        let mut case = Case::new(&[], file);
        let user = case.folder.path().join("users.toml");
        std::fs::write(&user, users).unwrap();
        case.surroundings.working = case.surroundings.files.pop();
        case.surroundings.files.push(user);
        case
    }

    fn notes(&self, line: &str) -> Vec<String> {
        let words = std::iter::once("program").chain(line.split_whitespace()).map(OsString::from).collect();
        let parsed = parse::<Line>(&NAMES, words, &self.surroundings);
        parsed.unwrap_or_else(|error| panic!("{line}: {error}")).notes
    }

    fn parse(&self, line: &str) -> Result<Line, String> {
        let words = std::iter::once("program").chain(line.split_whitespace()).map(OsString::from).collect();
        let error = |error: clap::Error| {
            assert_eq!(error.exit_code(), 2);
            error.to_string().replace(&self.folder.path().join("").display().to_string(), "")
        };
        parse(&NAMES, words, &self.surroundings).map(|parsed| parsed.arguments).map_err(error)
    }

    fn flags(&self, line: &str) -> Flags {
        self.parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).flags
    }

    fn wrong(&self, line: &str) -> String {
        self.parse(line).map(drop).unwrap_err()
    }
}

#[test]
fn the_line_wins_over_the_environment_and_that_over_the_file() {
    let file = "[program]\nhost = \"file\"\nport = 1\nname = [\"a\", \"b\"]\n[other]\nwhatever = 3\n";
    let all = Case::new(&[("P2P_PORT", "2"), ("P2P_NAME", "c d")], file);
    let flags = all.flags("-p 3 -n x -n y");
    assert_eq!((flags.host.as_deref(), flags.port, flags.name), (Some("file"), 3, vec!["x".into(), "y".into()]));
    let flags = all.flags("");
    assert_eq!((flags.port, flags.name), (2, vec!["c d".to_owned()]));
    let flags = Case::new(&[("P2P_PORT", "")], file).flags("");
    assert_eq!((flags.port, flags.name), (1, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(Case::new(&[], "").flags("-i h").port, 9000);
}

#[test]
fn what_is_required_may_come_from_anywhere() {
    assert!(Case::new(&[], "").wrong("").contains("required arguments were not provided"));
    assert_eq!(Case::new(&[("P2P_HOST", "h")], "").flags("").host.as_deref(), Some("h"));
    // A flag that needs another one is content with one from the file.
    let seeder = Case::new(&[], "[program]\nhost = \"h\"\nseeder = true");
    assert_eq!(seeder.flags("-m 1 2 3").missing, [1, 2, 3]);
    assert_eq!(Case::new(&[("P2P_MISSING", "[1, 2]"), ("P2P_SEEDER", "yes")], "").flags("-i h").missing, [1, 2]);
}

#[test]
fn a_switch_that_is_set_elsewhere_can_be_taken_back() {
    let set = Case::new(&[], "[program]\nhost = \"h\"\nseeder = true");
    assert!(set.flags("").seeder);
    assert!(!set.flags("--seeder=false").seeder);
    assert!(set.flags("-Sn x").seeder);
    assert!(!Case::new(&[("P2P_SEEDER", "0")], "[program]\nhost = \"h\"\nseeder = true").flags("").seeder);
}

#[test]
fn settings_from_different_places_conflict_as_flags_do() {
    let file = Case::new(&[], "[program]\nhost = \"h\"\nca = \"ca.pem\"");
    let conflict = file.wrong("--identity k");
    assert!(conflict.contains("cannot be used with"), "{conflict}");
    assert!(conflict.ends_with("note: --ca stands in p2p-fileshare.toml\n"), "{conflict}");
    let conflict = Case::new(&[("P2P_CA", "ca.pem")], "").wrong("-i h --identity k");
    assert!(conflict.ends_with("note: --ca stands in P2P_CA\n"), "{conflict}");
}

#[test]
fn a_subcommand_takes_what_it_knows() {
    let case = Case::new(&[("P2P_LEVEL", "debug")], "[program]\nhost = \"h\"\nhashes = \"there\"\nseeder = true");
    let line = case.parse("hash hash").unwrap();
    let Some(Sub::Hash { file, hashes }) = line.command else { panic!("it is a subcommand") };
    assert_eq!((file, hashes, line.level.as_str()), ("hash".into(), "there".into(), "debug"));
    assert!(!line.flags.seeder);
}

#[test]
fn a_file_can_be_chosen() {
    let case = Case::new(&[("P2P_CONFIG", "/nowhere/settings.toml")], "[program]\nhost = \"h\"\nport = 1");
    assert!(case.wrong("").contains("the settings in /nowhere/settings.toml cannot be read"), "{}", case.wrong(""));
    let other = case.folder.path().join("other=.toml");
    std::fs::write(&other, "[program]\nport = 7").unwrap();
    let line = case.parse(&format!("-i h --config {}", other.display())).unwrap();
    assert_eq!((line.flags.port, line.config), (7, Some(other.clone())));
    let variable = Case::new(&[("P2P_CONFIG", other.to_str().unwrap())], "");
    assert_eq!(variable.flags("-i h").port, 7);
    assert!(variable.parse("hash x").is_ok());
}

#[test]
fn what_is_wrong_in_the_file_is_said_with_its_place() {
    let sentence = |file: &str| Case::new(&[], file).wrong("-i h");
    let prot = sentence("# mine\n\n[program]\nprot = 1\n");
    assert_eq!(prot, "error: p2p-fileshare.toml, line 4: there is no setting `prot`; did you mean `port`?\n");
    let xyzzy = sentence("[program]\nxyzzy = 1\n");
    assert_eq!(xyzzy, "error: p2p-fileshare.toml, line 2: there is no setting `xyzzy`; --help names them all\n");
    let port = sentence("[program]\nport = 70000\n");
    assert!(
        port.starts_with("error: p2p-fileshare.toml, line 2: `port`: \"70000\" is not valid: 70000 is not in"),
        "{port}"
    );
    assert!(sentence("[program]\nport = [1]").contains("line 2: `port`: it takes one value, not a list"));
    assert!(sentence("[program]\nname = [[1]]").contains("line 2: `name`: a value is a text in quotes"));
    assert!(sentence("[program]\nseeder = 3").contains("line 2: `seeder`"));
    assert!(
        sentence("port = 1").contains("line 1: `port` belongs to a program: put it below a line [program] or [other]")
    );
    assert!(sentence("[progam]\nport = 1").contains("line 1: there is no program `progam`; did you mean `program`?"));
    assert!(sentence("[program]\nport = \n").contains("p2p-fileshare.toml, line 2: "));
    assert!(sentence("[program]\nconfig = \"x\"").contains("there is no setting `config`"));
    // A name of a subcommand's flag is known everywhere, and judged everywhere.
    assert!(Case::new(&[], "[program]\nhashes = \"x\"").parse("-i h").is_ok());
}

#[test]
fn what_is_wrong_in_the_environment_is_said_with_the_variable() {
    let sentence = Case::new(&[("P2P_PORT", "many")], "").wrong("-i h");
    assert!(sentence.starts_with("error: P2P_PORT: \"many\" is not valid: invalid digit"), "{sentence}");
    // What the line says makes it unimportant.
    assert!(Case::new(&[("P2P_PORT", "many")], "").parse("-i h -p 1").is_ok());
}

#[test]
fn help_is_as_it_was() {
    let help = Case::new(&[("P2P_PORT", "many")], "[progam]").parse_help();
    assert!(help.contains("--seeder") && !help.contains("--seeder["), "{help}");
}

impl Case {
    fn parse_help(&self) -> String {
        let words = ["program", "--help"].map(OsString::from).to_vec();
        let error = parse::<Line>(&NAMES, words, &self.surroundings).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::DisplayHelp, 0));
        error.to_string()
    }
}

#[test]
fn pages_name_every_flag_and_its_variable() {
    let folder = tempfile::tempdir().unwrap();
    man_pages(&NAMES, Line::command(), folder.path()).unwrap();
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(page("program.1").contains("P2P_MISSING"), "{}", page("program.1"));
    assert!(page("program-hash.1").contains("P2P_HASHES"));
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
        assert!(completions(Line::command(), shell).contains("missing"), "{shell}");
    }
}

#[test]
fn the_nearest_name_is_near() {
    assert_eq!(nearest("listners", ["listeners", "bind"]), Some("listeners"));
    assert_eq!(nearest("upRate", ["up-rate", "down-rate"]), Some("up-rate"));
    assert_eq!(nearest("zzz", ["listeners", "bind"]), None);
}

#[test]
fn the_working_folders_file_counts_only_without_a_subcommand() {
    let case = Case::working("[program]\nport = 7\nlevel = \"debug\"\nhashes = \"x\"\n", "");
    let line = case.parse("-i h").unwrap();
    assert_eq!((line.flags.port, line.level.as_str()), (7, "debug"));
    let line = case.parse("hash x").unwrap();
    let Some(Sub::Hash { hashes, .. }) = line.command else { panic!("it is a subcommand") };
    assert_eq!((hashes, line.level.as_str()), ("hashes".into(), "warn"));
    // Nor is it judged then.
    assert!(Case::working("[progam]\n", "").parse("hash x").is_ok());
    assert!(case.notes("hash x").is_empty());
}

/// What is only another way to say the same is no subcommand.
#[test]
fn a_plain_subcommand_is_as_good_as_none() {
    let case = Case::working("[program]\nport = 7\n", "");
    for line in ["run -i h", "start -i h"] {
        let Some(Sub::Run(flags)) = case.parse(line).unwrap().command else { panic!("it is a subcommand") };
        assert_eq!(flags.port, 7, "{line}");
    }
}

#[test]
fn what_was_typed_is_told_from_what_stands_elsewhere() {
    let case = Case::new(&[("P2P_NAME", "n")], "[program]\nport = 7\n");
    let words = ["program", "start", "-i", "h", "--ca=x"].map(OsString::from).to_vec();
    let Parsed { command, typed, .. } = parse::<Line>(&NAMES, words, &case.surroundings).unwrap();
    assert_eq!((command.as_deref(), typed), (Some("run"), vec!["ca".to_owned(), "host".to_owned()]));
}

#[test]
fn what_is_wrong_is_one_sentence_with_the_nearest_name() {
    let case = Case::new(&[("P2P_CA", "ca.pem")], "");
    let plain = Case::new(&[], "");
    let said = |line: &str| {
        let case = if line.contains("--identity") { &case } else { &plain };
        let words = std::iter::once("program").chain(line.split_whitespace()).map(OsString::from).collect();
        sentence(&parse::<Line>(&NAMES, words, &case.surroundings).unwrap_err())
    };
    assert_eq!(said("hsah x"), "there is no command \"hsah\"; did you mean hash?");
    assert_eq!(said("-i h --prot 1"), "there is no flag --prot; did you mean --port?");
    assert_eq!(said("hash x y"), "\"y\" is one word too many");
    assert_eq!(said("hash"), "<FILE> is missing");
    assert_eq!(said("-i h -m 1 2"), "--missing needs --seeder");
    assert_eq!(said("run -i h --ca x -m 1"), "--missing needs --seeder");
    assert_eq!(said("-m 1"), "--host <HOST> and --seeder are missing");
    assert_eq!(said("-i h -n"), "--name <NAME> needs a value");
    assert_eq!(said("-i h -p many"), "invalid value 'many' for '--port <PORT>': that is no whole number");
    let conflict = said("-i h --identity k");
    assert!(
        conflict.contains("cannot be used with") && conflict.ends_with("note: --ca stands in P2P_CA"),
        "{conflict}"
    );
    for line in ["hsah x", "-i h --prot 1", "-i h -p many", "-i h --identity k"] {
        assert!(!said(line).contains('\n'), "{line}");
    }
}

#[test]
fn the_working_folders_file_sets_only_what_is_harmless() {
    let file = "[program]\nhost = \"here\"\noutput = \"/etc\"\nlist = \"/etc/passwd\"\nname = [\"../../x\"]\nseeder = true\n\
                missing = \"no number\"\nca = \"ca2.pem\"\nport = 7\n";
    let case = Case::working(file, "[program]\nhost = \"there\"\noutput = \"mine\"\nca = \"ca.pem\"\nport = 8\n");
    let flags = case.flags("");
    assert_eq!((flags.port, flags.list, flags.seeder), (7, None, false));
    assert!(flags.name.is_empty() && flags.missing.is_empty());
    // What the user has set is not taken away by a file that came from elsewhere.
    assert_eq!((flags.host.as_deref(), flags.output), (Some("there"), Some("mine".into())));
    assert_eq!(flags.ca.as_deref(), Some("ca.pem"));
    let notes = case.notes("");
    for long in ["host", "output", "list", "name", "seeder", "missing", "ca"] {
        let said = notes.iter().filter(|note| note.contains(&format!("`{long}` is not read in the working folder")));
        assert_eq!(said.count(), 1, "{long}: {notes:?}");
    }
    assert_eq!(notes.len(), 7, "{notes:?}");
    assert_eq!(case.notes("-i h --output x --list y -n z --ca w").len(), 2);
    // A file that is named may say everything.
    let named = Case::new(&[], &file.replace("missing = \"no number\"\n", "")).flags("");
    assert_eq!((named.output, named.list.as_deref()), (Some("/etc".into()), Some("/etc/passwd")));
}

#[test]
fn a_harmless_flag_of_the_working_folder_holds_no_path() {
    for value in ["/x", "a/b", "..", "a\\\\b", "C:\\\\x"] {
        let case = Case::working(&format!("[program]\nlevel = \"{value}\"\n"), "");
        assert_eq!(case.parse("-i h").unwrap().level, "warn", "{value}");
        assert_eq!(case.notes("-i h").len(), 1, "{value}");
    }
}

#[test]
fn a_flag_that_is_missed_is_said_to_stand_in_the_working_folder() {
    let missed = Case::working("[program]\nhost = \"here\"\n", "").wrong("");
    assert!(missed.starts_with("error: the following required arguments were not provided"), "{missed}");
    assert!(missed.contains("note: p2p-fileshare.toml: `host` is not read in the working folder"), "{missed}");
}

#[cfg(unix)]
#[test]
fn a_working_folders_file_that_others_can_write_to_is_left_alone() {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    let case = Case::working("[program]\nlevel = \"here\"\n", "[program]\nlevel = \"mine\"\n");
    let path = case.surroundings.working.clone().unwrap();
    let level = |notes: &[&str]| {
        let said = case.notes("-i h");
        assert_eq!(said.len(), notes.len(), "{said:?}");
        assert!(said.iter().zip(notes).all(|(said, note)| said.contains(note)), "{said:?}");
        case.parse("-i h").unwrap().level
    };
    for (mode, expected) in [(0o664, "mine"), (0o646, "mine"), (0o644, "here")] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let notes: &[&str] = if expected == "mine" { &["others than its owner may write to it"] } else { &[] };
        assert_eq!(level(notes), expected, "{mode:o}");
    }
    // Only root can give a file away.
    if chown(&path, Some(12345), None).is_ok() {
        assert_eq!(level(&["it belongs to another user"]), "mine");
    }
    let other = case.folder.path().join("other.toml");
    std::fs::rename(&path, &other).unwrap();
    symlink(&other, &path).unwrap();
    assert_eq!(level(&["it is a link"]), "mine");
}

#[test]
fn a_users_file_in_the_working_folder_is_the_users() {
    let mut case = Case::new(&[], "[program]\nhost = \"h\"\noutput = \"mine\"\n");
    case.surroundings.working = case.surroundings.files.last().cloned();
    assert_eq!(case.flags("").output, Some("mine".into()));
    assert!(case.notes("").is_empty());
}
