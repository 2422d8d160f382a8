//! Wine, which runs programs for Windows: the machine's own, or Debian's, unpacked beside and completed.
//!
//! It lets pass what Windows refuses: it renames folders whose files are open, and shares files as Linux does. What those
//! would break is tested on Linux, by what causes it. Nor does it know the call that QUIC's sockets need.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use super::compiler::Mingw;
use super::debian::{Apt, Ended, ended, once, output_of};

/// What Rust's programs ask for randomness, which the Wine of Debian 12 does not have.
const PRIMITIVES: &str = "\
typedef unsigned char u8;
u8 __stdcall SystemFunction036(void *, unsigned long);
__declspec(dllexport) int ProcessPrng(u8 *bytes, unsigned long long len) { return SystemFunction036(bytes, len); }
";

/// Where a prefix keeps the libraries that programs load.
const SYSTEM: &str = "drive_c/windows/system32";

/// What Wine says of itself: nothing; or what it misses, but not that it has no screen and no sound.
const SILENT: &str = "-all";
const DIAGNOSES: &str = "err+all,-winediag,-systray,-ole,-rpc";

/// Wine, with a prefix of its own.
pub(super) struct Wine {
    loader: PathBuf,
    server: PathBuf,
    /// Where its packages are unpacked, unless they are installed.
    root: Option<PathBuf>,
    variables: Vec<(&'static str, OsString)>,
    /// The prefix, if it is removed afterwards.
    temporary: Option<TempDir>,
}

impl Wine {
    /// The machine's, or one that is unpacked beside.
    pub(super) fn get(tools: &Path) -> anyhow::Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let installed = |name: &str| env::split_paths(&path).map(|folder| folder.join(name)).find(|at| at.is_file());
        let mut wine = match installed("wine64").or_else(|| installed("wine")).zip(installed("wineserver")) {
            Some((loader, server)) => Wine { loader, server, root: None, variables: Vec::new(), temporary: None },
            None => Wine::unpacked(tools)?,
        };
        wine.make_prefix(tools)?;
        Ok(wine)
    }

    fn unpacked(tools: &Path) -> anyhow::Result<Self> {
        let folder = once(tools.join("wine"), |folder| {
            let apt = Apt::of_this_machine(tools)?;
            apt.unpack(&apt.with_dependencies(&["wine64"])?, folder)?;
            // What the packages mean to find in the root.
            let bin = folder.join("usr/lib/wine");
            fs::remove_file(bin.join("wineserver"))?;
            fs::copy(bin.join("wineserver64"), bin.join("wineserver"))?;
            Ok(())
        })?;
        let (bin, libraries) = (folder.join("usr/lib/wine"), folder.join("usr/lib/x86_64-linux-gnu"));
        let variables =
            vec![("WINEDLLPATH", libraries.join("wine").into()), ("LD_LIBRARY_PATH", libraries.into_os_string())];
        let (loader, server) = (bin.join("wine64"), bin.join("wineserver"));
        Ok(Wine { loader, server, root: Some(folder), variables, temporary: None })
    }

    /// A prefix that is kept with the tools. Where none can be made there, one in the folder for temporary files: not every file
    /// system has links and names with colons. If that is no better, the error has what Wine misses.
    fn make_prefix(&mut self, tools: &Path) -> anyhow::Result<()> {
        // No window is ever shown, and no browser's engine asked for.
        self.set("WINEDLLOVERRIDES", "mscoree,mshtml,winemenubuilder.exe=");
        // A prefix links to what lies in a home, and without one Wine crashes. This home is the same for everybody.
        self.set("HOME", tools);
        self.set("WINEDEBUG", SILENT);
        let prefix = tools.join("prefix");
        self.set("WINEPREFIX", &prefix);
        let Err(refused) = once(prefix, |prefix| self.fill(prefix, tools)) else { return Ok(()) };
        let elsewhere = tempfile::tempdir()?;
        eprintln!("{refused:#}; once more in {}", elsewhere.path().display());
        self.set("WINEDEBUG", DIAGNOSES);
        self.set("WINEPREFIX", elsewhere.path());
        let filled = self.fill(elsewhere.path(), tools);
        self.set("WINEDEBUG", SILENT);
        filled.with_context(|| format!("{refused:#}; in another folder"))?;
        self.temporary = Some(elsewhere);
        Ok(())
    }

    /// Makes a prefix in a folder, and sees that programs run in it. A program of which one library is missing ends with status 53
    /// and says nothing.
    fn fill(&self, prefix: &Path, tools: &Path) -> anyhow::Result<()> {
        let system = prefix.join(SYSTEM);
        fs::create_dir_all(&system)?;
        // Wine's user32 needs it, without which no prefix can be made. Debian's packages look for it by its path in the root.
        let zlib = self.root.as_ref().map(|root| root.join("usr/x86_64-w64-mingw32/lib/zlib1.dll"));
        if let Some(zlib) = zlib.filter(|zlib| zlib.exists()) {
            fs::copy(zlib, system.join("zlib1.dll"))?;
        }
        let made = ended(self.command(Path::new("wineboot")).arg("--init"))?;
        // It may fail for want of the part for 32 bits, which nothing here needs.
        ensure!(system.join("kernel32.dll").exists(), "Wine makes no prefix: {}", complaint(&made));
        let primitives = system.join("bcryptprimitives.dll");
        if !primitives.exists() {
            let source = tools.join("primitives.c");
            fs::write(&source, PRIMITIVES)?;
            Mingw::get(tools)?.library(&source, &primitives, "-ladvapi32")?;
        }
        let ran = ended(self.command(Path::new("cmd")).args(["/c", "ver"]))?;
        if !ran.success || ran.output.trim().is_empty() {
            bail!("no program runs under Wine: {}", complaint(&ran));
        }
        Ok(())
    }

    fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.variables.retain(|(set, _)| *set != name);
        self.variables.push((name, value.into()));
    }

    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.loader);
        command.arg(program).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Ends whatever still runs in this prefix.
    pub(super) fn stop(&self) {
        let mut command = Command::new(&self.server);
        command.arg("--kill").envs(self.variables.iter().map(|(name, value)| (name, value)));
        let _ = output_of(&mut command);
    }
}

/// What Wine said that shows the cause: its first errors, which others follow from, and its last words.
fn complaint(ended: &Ended) -> String {
    const FIRST: usize = 3;
    let mut words: Vec<&str> = Vec::new();
    for error in ended.errors.lines().filter_map(|line| line.split_once(":err:")).map(|(_, error)| error.trim()) {
        if words.len() < FIRST && !words.contains(&error) {
            words.push(error);
        }
    }
    words.push(ended.last_words());
    words.join("; ")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A loader that fills a prefix as Wine does once `needs`, a test of the shell's, holds.
    fn wine(folder: &Path, needs: &str) -> Wine {
        let zlib = folder.join("root/usr/x86_64-w64-mingw32/lib");
        fs::create_dir_all(&zlib).unwrap();
        fs::write(zlib.join("zlib1.dll"), "").unwrap();
        let loader = folder.join("wine64");
        let script = format!(
            "#!/bin/sh\ncd \"$WINEPREFIX/{SYSTEM}\"\n\
             if ! {needs}; then\n  [ \"$WINEDEBUG\" = -all ] || echo '002c:err:module:import_dll one.dll not found' >&2\n  \
             echo 'wine: could not load kernel32.dll' >&2; exit 53\nfi\n\
             touch kernel32.dll bcryptprimitives.dll\n[ \"$1\" = wineboot ] || echo a version\n"
        );
        fs::write(&loader, script).unwrap();
        fs::set_permissions(&loader, fs::Permissions::from_mode(0o755)).unwrap();
        let server = folder.join("wineserver");
        Wine { loader, server, root: Some(folder.join("root")), variables: Vec::new(), temporary: None }
    }

    #[test]
    fn a_prefix_is_made_with_the_libraries_that_wine_itself_needs() {
        let folder = tempfile::tempdir().unwrap();
        let mut wine = wine(folder.path(), "[ -e zlib1.dll ] && [ -d \"$HOME\" ]");
        wine.make_prefix(folder.path()).unwrap();
        assert!(wine.temporary.is_none() && folder.path().join("prefix").join(SYSTEM).join("kernel32.dll").exists());
    }

    #[test]
    fn where_no_prefix_can_be_made_another_folder_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let needs = format!("[ \"$WINEPREFIX\" != \"{}/prefix\" ]", folder.path().display());
        let mut wine = wine(folder.path(), &needs);
        wine.make_prefix(folder.path()).unwrap();
        let prefix = wine.temporary.as_ref().unwrap().path();
        assert!(prefix.join(SYSTEM).join("kernel32.dll").exists());
        assert!(wine.variables.contains(&("WINEPREFIX", prefix.into())), "{:?}", wine.variables);
        assert!(wine.variables.contains(&("WINEDEBUG", SILENT.into())), "{:?}", wine.variables);
    }

    #[test]
    fn what_wine_misses_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = wine(folder.path(), "false").make_prefix(folder.path()).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "Wine makes no prefix: wine: could not load kernel32.dll; in another folder: \
             Wine makes no prefix: module:import_dll one.dll not found; wine: could not load kernel32.dll"
        );
    }
}
