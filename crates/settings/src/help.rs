//! How help is arranged: which flags stand under which heading, which of them `-h` shows, and which do nothing for a command and
//! are not taken there. `-h` fits on a screen of 24 lines and 80 columns; `--help` says all.

use clap::{Arg, ArgAction, Command};

/// Columns that help fills at most.
const COLUMNS: usize = 80;
/// Examples come first: they are what is looked for.
const TEMPLATE: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";
/// Where flags stand that have no other place.
const COMMON: &str = "Common";

/// What stands where in a program's help. Flags are named by their long names, the program itself by its own.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Flags under headings of their own. All others stand under the first heading.
    pub headings: &'static [(&'static str, &'static [&'static str])],
    /// What `-h` shows of a command's flags. Of one that is not listed it shows those under the first heading.
    pub short: &'static [(&'static str, &'static [&'static str])],
    /// Flags that do nothing for some commands, and why.
    pub idle: &'static [Idle],
    /// Commands that `-h` of the program leaves out, where there is no room for all.
    pub aside: &'static [&'static str],
}

/// Flags that do nothing for some commands.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// The commands.
    pub commands: &'static [&'static str],
    /// The flags.
    pub flags: &'static [&'static str],
    /// Why, as the rest of a sentence.
    pub why: &'static str,
}

impl Layout {
    /// The program's command with its help in order, and those of its subcommands.
    pub fn arrange(&self, program: Command) -> Command {
        let version = Arg::new("version").short('V').long("version").action(ArgAction::Version);
        let version = version.help("Print the version").help_heading(COMMON).hide_short_help(true);
        let program = self.arrange_one(program).mut_subcommands(|command| self.arrange_one(command));
        program.disable_version_flag(true).arg(version).disable_help_subcommand(true)
    }

    /// The same for `-h`, without what that leaves out.
    pub fn brief(&self, program: Command) -> Command {
        program.mut_subcommands(|command| {
            let is_aside = self.aside.contains(&command.get_name());
            if is_aside { command.hide(true) } else { command }
        })
    }

    fn arrange_one(&self, command: Command) -> Command {
        let name = command.get_name().to_owned();
        let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help_heading(COMMON);
        let help = help.help("Print this; --help says all").long_help("Print this; -h is shorter");
        let command = command.mut_args(|arg| self.place(&name, arg)).disable_help_flag(true).arg(help);
        command.max_term_width(COLUMNS).help_template(TEMPLATE)
    }

    fn place(&self, command: &str, arg: Arg) -> Arg {
        let arg = whole(arg);
        let Some(long) = arg.get_long().map(str::to_owned) else { return arg };
        let heading = self.headings.iter().find(|(_, flags)| flags.contains(&long.as_str()));
        let heading = heading.map_or(COMMON, |(heading, _)| heading);
        let short = self.short.iter().find(|(name, _)| *name == command);
        let is_short = short.map_or(heading == COMMON, |(_, flags)| flags.contains(&long.as_str()));
        let is_hidden = arg.is_hide_set() || self.why_idle(command, &long).is_some();
        arg.help_heading(heading).hide_short_help(!is_short).hide(is_hidden)
    }

    /// Why a flag does nothing for a command, if that is so.
    pub fn why_idle(&self, command: &str, long: &str) -> Option<&'static str> {
        let is = |idle: &&Idle| idle.commands.contains(&command) && idle.flags.contains(&long);
        self.idle.iter().find(is).map(|idle| idle.why)
    }

    /// What is wrong with a program's help, a sentence each, for its tests.
    pub fn flaws(&self, mut program: Command) -> Vec<String> {
        program.build();
        let subcommands: Vec<_> = program.get_subcommands().cloned().collect();
        let commands: Vec<_> =
            std::iter::once(program).chain(subcommands).filter(|command| !command.is_hide_set()).collect();
        let mut flaws: Vec<_> =
            commands.iter().flat_map(|command| flaws_of(command.clone(), self.brief(command.clone()))).collect();
        let has = |name: &str, long: &str, hidden: bool| {
            let command = commands.iter().find(|command| command.get_name() == name);
            let mut flags = command.into_iter().flat_map(Command::get_arguments);
            flags.any(|flag| flag.get_long() == Some(long) && flag.is_hide_set() == hidden)
        };
        for (name, flags) in self.short {
            let missing = flags.iter().filter(|long| !has(name, long, false));
            flaws.extend(missing.map(|long| format!("-h is to show --{long} of {name}, which has none")));
        }
        for Idle { commands, flags, .. } in self.idle {
            let all = commands.iter().flat_map(|name| flags.iter().map(move |long| (name, long)));
            let missing = all.filter(|(name, long)| !has(name, long, true));
            flaws.extend(missing.map(|(name, long)| format!("--{long} is idle for {name}, which has none")));
        }
        flaws
    }
}

/// The first paragraph is what `-h` says; where another follows, that says all of it.
fn whole(arg: Arg) -> Arg {
    let text = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
    match text.split_once("\n\n") {
        Some((_, all)) => arg.long_help(all.to_owned()),
        None => arg,
    }
}

fn flaws_of(mut command: Command, mut brief: Command) -> Vec<String> {
    let (name, short) = (command.get_name().to_owned(), brief.render_help().to_string());
    let long = command.render_long_help().to_string();
    let mut flaws = Vec::new();
    if short.lines().count() > 24 {
        flaws.push(format!("-h of {name} has {} lines:\n{short}", short.lines().count()));
    }
    let wide = |help: &str| help.lines().find(|line| line.chars().count() > COLUMNS).map(str::to_owned);
    flaws.extend(wide(&short).into_iter().chain(wide(&long)).map(|line| format!("{name} has a wide line: {line}")));
    for help in [&short, &long] {
        match (help.find("Example"), help.find("Usage:")) {
            (Some(examples), Some(usage)) if examples < usage => {}
            _ => flaws.push(format!("{name} has no examples at first:\n{help}")),
        }
    }
    for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
        let Some(long_name) = flag.get_long() else { continue };
        let heading = flag.get_help_heading().unwrap_or("no heading");
        let (short, all) = (flag.get_help(), flag.get_long_help());
        if let (Some(short), Some(all)) = (short, all)
            && all.to_string().matches(&short.to_string()).count() > 1
        {
            flaws.push(format!("--{long_name} of {name} says the same twice: {all}"));
        }
        if !long.contains(&format!("--{long_name}")) || !long.contains(&format!("\n{heading}:\n")) {
            flaws.push(format!("--help of {name} lacks --{long_name}, under {heading}"));
        }
    }
    flaws
}
