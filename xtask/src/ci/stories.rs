//! The pages about gateways, hubs, mirrors and origins, run as a reader pastes them: each line of each block of commands. In place of the
//! public hub, Docker Hub and the buckets of a cloud there are others on this machine, in a network that leads nowhere else.
//!
//! `stories/PAGE.sh` is the story of a page, and `prelude.sh` what all of them begin with. Lines of a page that are in no story, or in
//! another wording, are an error.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use testbed::programs::{Programs, at_home, without_settings};

use super::optional;
use crate::cross::Skipped;
use crate::dist::there_is;

/// A patience that only ends a story that hangs.
const PATIENCE: Duration = Duration::from_secs(300);
/// What it is given to end then, before it is killed.
const TO_END: &str = "--kill-after=10";
/// What the prelude does that not every container allows.
const NEEDED: &str = "mount -t proc proc /proc && mount --bind /etc/hosts /etc/hosts && ip link add lan type veth";
/// Proxies are not reached from a network of its own; the others would have clients ask for something else.
const SETTINGS: [&str; 13] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "HF_TOKEN",
    "HF_HUB_OFFLINE",
    "HF_ENDPOINT",
    "REGISTRY_AUTH_FILE",
    "AWS_PROFILE",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL",
];
const PRELUDE: &str = include_str!("stories/prelude.sh");

/// A page of `docs/use`.
struct Page {
    name: &'static str,
    story: &'static str,
    /// The programs that it talks of.
    needs: &'static [&'static str],
}

const PAGES: [Page; 5] = [
    Page { name: "gateway", story: include_str!("stories/gateway.sh"), needs: &["curl", "aria2c"] },
    Page { name: "huggingface", story: include_str!("stories/huggingface.sh"), needs: &[] },
    Page {
        name: "mirror",
        story: include_str!("stories/mirror.sh"),
        needs: &["skopeo", "docker-registry", "containerd", "ctr"],
    },
    Page { name: "origins", story: include_str!("stories/origins.sh"), needs: &[] },
    Page { name: "s3", story: include_str!("stories/s3.sh"), needs: &[] },
];

/// Runs the stories for which everything is here.
pub(super) fn run(skipped: &mut Skipped) -> anyhow::Result<()> {
    for page in &PAGES {
        let text = fs::read_to_string(format!("docs/use/{}.md", page.name))?;
        let untold: Vec<_> = commands(&text).filter(|line| !is_told(page.story, line)).collect();
        ensure!(untold.is_empty(), "docs/use/{}.md: xtask/src/ci/stories does not run {untold:#?}", page.name);
    }
    let namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--net"];
    let mut try_out = Command::new("unshare");
    try_out.args(namespaces).args(["sh", "-c", NEEDED]).stderr(Stdio::null());
    if !try_out.status().is_ok_and(|status| status.success()) {
        skipped.say("stories of docs/use: no namespaces can be made here, or set up for want of ip");
        return Ok(());
    }
    let Some(python) = optional::python() else {
        skipped.say("stories of docs/use: pip cannot install clients in Python here");
        return Ok(());
    };
    let python = python.ancestors().nth(2).context("it is in a folder of its own")?;
    let programs = optional::programs()?;
    let mut failed = Vec::new();
    for page in &PAGES {
        let missing: Vec<_> = page.needs.iter().copied().filter(|program| !there_is(program)).collect();
        if !missing.is_empty() {
            skipped.say(&format!("the story of docs/use/{}.md: {} is not here", page.name, missing.join(", ")));
            continue;
        }
        eprintln!("the story of docs/use/{}.md", page.name);
        if let Err(error) = page.run(&programs, python, &namespaces) {
            eprintln!("{error:#}");
            failed.push(page.name);
        }
    }
    ensure!(failed.is_empty(), "stories of docs/use that failed: {}", failed.join(", "));
    Ok(())
}

impl Page {
    fn run(&self, programs: &Programs, python: &Path, namespaces: &[&str]) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        for name in ["bin", "home", "logs"] {
            fs::create_dir(at(name))?;
        }
        for program in [&programs.tracker, &programs.peer] {
            let here = at("bin").join(program.file_name().context("a program has a name")?);
            fs::hard_link(program, &here).or_else(|_| fs::copy(program, &here).map(drop))?;
        }
        fs::write(at("story.sh"), format!("{PRELUDE}{}echo passed\n", self.story))?;
        let mut path = vec![at("bin"), python.join("bin")];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let said = File::create(at("said"))?;
        let mut story = Command::new("timeout");
        story
            .arg(TO_END)
            .arg(PATIENCE.as_secs().to_string())
            .arg("unshare")
            .args(namespaces)
            .arg("bash")
            .arg(at("story.sh"));
        without_settings(&mut story);
        at_home(&mut story, &at("home"));
        for name in SETTINGS {
            story.env_remove(name);
        }
        story.env("PATH", std::env::join_paths(path)?).env("PYTHON", python).env("LOGS", at("logs"));
        story.env("STORIES", fs::canonicalize("xtask/src/ci/stories")?).current_dir(at("home"));
        let status = story.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).status()?;
        let said = String::from_utf8_lossy(&fs::read(at("said"))?).into_owned();
        let has_passed = status.success() && said.lines().last() == Some("passed");
        ensure!(has_passed, "docs/use/{}.md ends with {status}:\n{said}", self.name);
        Ok(())
    }
}

/// The lines of all blocks of a page, without those that are empty.
fn commands(page: &str) -> impl Iterator<Item = &str> {
    let mut is_fenced = false;
    let lines = page.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_fenced ^= is_fence;
        !is_fence && (is_fenced || line.starts_with("    "))
    });
    lines.map(str::trim).filter(|line| !line.is_empty())
}

fn is_told(story: &str, command: &str) -> bool {
    story.lines().any(|line| line.trim() == command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_what_stands_in_blocks() {
        let page = "Type:\n\n    one &\n\n    two\n\nand\n\n```sh\nthree\n\nfour\n```\n- a list\n  five\n";
        assert_eq!(commands(page).collect::<Vec<_>>(), ["one &", "two", "three", "four"]);
        assert!(is_told("run << 'END'\n  one &\nEND\n", "one &") && !is_told("one & two", "one &"));
    }

    #[test]
    fn every_command_of_these_pages_is_in_their_story() {
        for page in &PAGES {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/use/{}.md", page.name));
            let text = fs::read_to_string(path).unwrap();
            let untold: Vec<_> = commands(&text).filter(|line| !is_told(page.story, line)).collect();
            assert!(untold.is_empty() && commands(&text).next().is_some(), "{}: {untold:#?}", page.name);
        }
    }
}
