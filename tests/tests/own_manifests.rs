//! `verify` checks against manifests that were made here, never against those that came from others under the same name.

use testbed::event::{Hashing, Kind, Sharing};
use tests::machines::{Machines, ticket};
use tests::{Process, noise};

struct Here<'a>(&'a Machines);

impl Here<'_> {
    fn run(&self, arguments: &[&str]) -> Process {
        let mut command = tests::peer_cli();
        command.current_dir(self.0.folder("here")).args(arguments);
        testbed::programs::at_home(&mut command, &self.0.home("here"));
        Process::start("here", command)
    }
}

#[test]
fn a_download_of_the_same_name_does_not_change_what_verify_checks_against() {
    let machines = Machines::new();
    let (own, evil) = (noise(10_000, 1), noise(10_000, 2));
    machines.put("here", "model.bin", &own);
    machines.put("evil", "model.bin", &evil);
    let here = Here(&machines);
    here.run(&["hash", "model.bin"]).ends_with(0);
    let before = machines.read("here", "hashes/model.bin.manifest");

    let mut sharer = machines.share("evil", &["-d=0", "model.bin"]);
    let content = sharer.event::<Sharing>().content;
    machines.get("here", &[&ticket(&mut sharer)]).ends_with(0);
    assert!(machines.read("here", "hashes/model.bin.manifest") == before);
    assert!(machines.folder("here").join(format!("hashes/by-id/{content}.manifest")).is_file());

    here.run(&["verify", "model.bin"]).ends_with(0);
    here.run(&["verify", "output/model.bin"]).ends_with(9);
    // The others' bytes are right where their id is named, and only there.
    here.run(&["verify", "output/model.bin", "--id", &content]).ends_with(0);
    here.run(&["verify", "model.bin", "--id", &content]).ends_with(9);
    here.run(&["verify", "model.bin", "--id", &content[..12]]).ends_with(2);
}

/// A file that was only downloaded has no manifest of the user's own, and none is guessed.
#[test]
fn a_download_is_verified_by_its_id() {
    let machines = Machines::new();
    machines.put("there", "file", &noise(10_000, 1));
    let mut sharer = machines.share("there", &["-d=0", "file"]);
    let content = sharer.event::<Sharing>().content;
    machines.get("here", &[&ticket(&mut sharer), "-o=."]).ends_with(0);
    let here = Here(&machines);
    let mut verify = here.run(&["verify", "file"]);
    verify.ends_with(1);
    let said = format!("give the content id with --id {content}; for a file of your own");
    assert!(verify.errors().contains(&said), "{}", verify.errors());
    let mut verify = here.run(&["verify", "file", "--id", &content]);
    verify.line("file: good");
    verify.ends_with(0);
}

/// Shared from here, it is the user's own again; what was downloaded before stays what it was.
#[test]
fn what_is_shared_after_a_download_of_its_name_is_not_hashed_anew_each_time() {
    let machines = Machines::new();
    for (machine, seed) in [("here", 1), ("evil", 2)] {
        machines.put(machine, "file", &noise(10_000, seed));
    }
    // Young files have no stamp.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let mut own = machines.share("here", &["-d=0", "--hashes=hashes", "file"]);
    let content = own.event::<Sharing>().content;
    own.kill();
    let stamp = machines.read("here", "hashes/file.stamp");
    let mut sharer = machines.share("evil", &["-d=0", "file"]);
    machines.get("here", &[&ticket(&mut sharer), "--hashes=hashes"]).ends_with(0);
    let mut own = machines.share("here", &["-d=0", "--hashes=hashes", "file"]);
    own.find_event("sharing, and nothing hashed before", |event| {
        assert!(Hashing::of(&event).is_none(), "{event:?}");
        Sharing::from_event(event).map(|sharing| assert_eq!(sharing.content, content))
    });
    assert!(machines.read("here", "hashes/file.stamp") == stamp);
}
