//! Wine, which runs programs for Windows: the machine's own, or Debian's, unpacked beside and completed.
//!
//! It lets pass what Windows refuses: it renames folders whose files are open, and shares files as Linux does. What those
//! would break is tested on Linux, by what causes it. Nor does it know the call that QUIC's sockets need.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::compiler::Mingw;
use super::debian::{Apt, once, output_of};

/// What Rust's programs ask for randomness, which the Wine of Debian 12 does not have.
const PRIMITIVES: &str = "\
typedef unsigned char u8;
u8 __stdcall SystemFunction036(void *, unsigned long);
__declspec(dllexport) int ProcessPrng(u8 *bytes, unsigned long long len) { return SystemFunction036(bytes, len); }
";

/// Wine, with a prefix of its own.
pub(super) struct Wine {
    loader: PathBuf,
    server: PathBuf,
    /// Where its packages are unpacked, unless they are installed.
    root: Option<PathBuf>,
    variables: Vec<(&'static str, OsString)>,
}

impl Wine {
    /// The machine's, or one that is unpacked beside.
    pub(super) fn get(tools: &Path) -> anyhow::Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let installed = |name: &str| env::split_paths(&path).map(|folder| folder.join(name)).find(|at| at.is_file());
        let mut wine = match installed("wine64").or_else(|| installed("wine")).zip(installed("wineserver")) {
            Some((loader, server)) => Wine { loader, server, root: None, variables: Vec::new() },
            None => Wine::unpacked(tools)?,
        };
        // No window is ever shown, and no browser's engine asked for.
        wine.variables.push(("WINEDLLOVERRIDES", "mscoree,mshtml,winemenubuilder.exe=".into()));
        wine.variables.push(("WINEDEBUG", "-all".into()));
        let prefix = tools.join("prefix");
        wine.variables.push(("WINEPREFIX", prefix.clone().into()));
        once(prefix.clone(), |prefix| {
            // It fails for want of the part for 32 bits, which nothing here needs.
            let said = output_of(wine.command(Path::new("wineboot")).arg("--init"));
            if prefix.join("drive_c/windows/system32/kernel32.dll").exists() { Ok(()) } else { said.map(drop) }
        })?;
        wine.add_libraries(&prefix.join("drive_c/windows/system32"), tools)?;
        Ok(wine)
    }

    /// Adds what programs need and this Wine may not have: a program of which one library is missing ends with status 53 and
    /// says nothing.
    fn add_libraries(&self, system: &Path, tools: &Path) -> anyhow::Result<()> {
        let primitives = system.join("bcryptprimitives.dll");
        if !primitives.exists() {
            let source = tools.join("primitives.c");
            fs::write(&source, PRIMITIVES)?;
            Mingw::get(tools)?.library(&source, &primitives, "-ladvapi32")?;
        }
        // Wine's user32 needs it. Debian's packages link to it by its path in the root.
        let zlib = self.root.as_ref().map(|root| root.join("usr/x86_64-w64-mingw32/lib/zlib1.dll"));
        if let Some(zlib) = zlib.filter(|zlib| zlib.exists()) {
            fs::copy(zlib, system.join("zlib1.dll"))?;
        }
        Ok(())
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
        Ok(Wine { loader: bin.join("wine64"), server: bin.join("wineserver"), root: Some(folder), variables })
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
