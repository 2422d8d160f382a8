//! Somebody else writes to what a download builds, or to what lies where it goes: it is said, never called complete, and the
//! next run puts it right.

use std::fs::{self, OpenOptions};
use std::path::Path;

use testbed::event::ShareOver;
#[cfg(unix)]
use testbed::event::Withdrawn;
#[cfg(unix)]
use tests::Process;
use tests::machines::{Machines, ticket};
use tests::noise;

const SIZE: usize = 6 << 20;

/// Cuts a file that is built, as a clean-up job does; the rest of it comes all the same.
fn cut(path: &Path) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
}

#[test]
fn a_part_file_that_is_cut_while_it_is_filled_is_status_9_and_the_next_run_completes_it() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(SIZE, 1));
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "file"]);
    let ticket = ticket(&mut sharer);
    for flags in [&["--storage=mmap"][..], &["--storage=file"], &["--verify-on-disk"]] {
        let mut get = machines.get("there", &[&[&*ticket, "--json", "--down-rate=2MiB"], flags].concat());
        get.pieces(8);
        cut(&machines.folder("there").join("output/.file.part"));
        get.ends_with(9);
        assert!(get.errors().contains("was changed while it was in use"), "{}", get.errors());
        assert!(!machines.folder("there").join("output/file").exists());
        machines.get("there", &[&[&*ticket], flags].concat()).ends_with(0);
        assert!(machines.read("there", "output/file") == noise(SIZE, 1));
        fs::remove_file(machines.folder("there").join("output/file")).unwrap();
    }
}

/// They once heard only that nobody had the rest.
#[test]
fn receivers_are_told_that_a_shared_file_has_changed() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(SIZE, 1));
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "file"]);
    let ticket = ticket(&mut sharer);
    let mut get = machines.get("there", &[&ticket, "--json", "--down-rate=1MiB", "--wait=1s"]);
    get.pieces(8);
    machines.put("here", "file", &noise(SIZE, 2));
    let reason = get.event::<ShareOver>().reason;
    assert!(reason.contains("file was changed while it was shared"), "{reason}");
    get.ends_with(5);
    let errors = get.errors();
    assert!(errors.contains(&format!("Who shares it says: {reason}.")), "{errors}");
    assert!(errors.contains("Ask for a new ticket; what is here is kept in output"), "{errors}");
}

/// It once stayed for ever with nothing to give, and said that the file was changed.
#[cfg(unix)]
#[test]
fn a_share_of_which_nothing_is_left_says_why_and_ends() {
    let machines = Machines::new();
    for (receiver, flags) in [("one", &[][..]), ("other", &["--commands", "--receivers=1"])] {
        machines.put("here", "file", &noise(SIZE, 1));
        let arguments = [&["--json", "-d=0", "--piece-size=64KiB", "file"], flags].concat();
        let mut sharer = Process::start("here", machines.command("here", "share", &arguments));
        let ticket = ticket(&mut sharer);
        let mut get = machines.get(receiver, &[&ticket, "--json", "--down-rate=1MiB", "--wait=1s"]);
        get.pieces(8);
        fs::remove_file(machines.folder("here").join("file")).unwrap();
        let reason = get.event::<ShareOver>().reason;
        assert!(reason.contains("file was moved or removed"), "{reason}");
        let reason = sharer.event::<Withdrawn>().reason;
        assert!(reason.contains("file is not there"), "{reason}");
        sharer.ends_with(9);
        assert!(sharer.errors().contains("nothing is shared any more"), "{}", sharer.errors());
        get.ends_with(5);
    }
}

#[test]
fn a_file_in_place_that_is_edited_while_its_folder_is_completed_is_named() {
    let machines = Machines::new();
    machines.put("here", "folder/old", &noise(100_000, 1));
    machines.put("here", "folder/new", &noise(SIZE, 2));
    machines.put("there", "output/folder/old", &noise(100_000, 1));
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "folder"]);
    let ticket = ticket(&mut sharer);
    let mut get = machines.get("there", &[&ticket, "--json", "--down-rate=2MiB"]);
    get.pieces(8);
    machines.put("there", "output/folder/old", &noise(100_000, 3));
    get.ends_with(9);
    assert!(get.errors().contains("folder/old was changed"), "{}", get.errors());
    machines.get("there", &[&ticket]).ends_with(7);
    machines.get("there", &[&ticket, "--force"]).ends_with(0);
    assert!(machines.read("there", "output/folder/old") == noise(100_000, 1));
    assert!(machines.read("there", "output/folder/new") == noise(SIZE, 2));
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_moved_away_is_not_where_a_download_is_said_to_be() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(SIZE, 1));
    let mut sharer = machines.share("here", &["-d=0", "--piece-size=64KiB", "file"]);
    let ticket = ticket(&mut sharer);
    let mut get = machines.get("there", &[&ticket, "--json", "--down-rate=2MiB"]);
    get.pieces(8);
    let folder = machines.folder("there");
    fs::rename(folder.join("output"), folder.join("moved")).unwrap();
    get.ends_with(7);
    assert!(get.errors().contains("was moved or removed"), "{}", get.errors());
    machines.get("there", &[&ticket, "--output=moved"]).ends_with(0);
    assert!(machines.read("there", "moved/file") == noise(SIZE, 1));
}

/// Nothing can be kept where it was to be: neither the tracker's key, nor manifests.
#[test]
fn where_nothing_can_be_kept_it_is_said_and_goes_on() {
    let machines = Machines::new();
    for machine in ["here", "there"] {
        // As good as a folder that may not be written to, and so for root, too.
        machines.put(machine, "hashes", b"");
        machines.put(machine, "certs", b"");
    }
    machines.put("here", "file", &noise(100_000, 1));
    let mut sharer = machines.share("here", &["-d=0", "--certs=certs", "--hashes=hashes", "--log-level=info", "file"]);
    let ticket = ticket(&mut sharer);
    assert!(sharer.errors().contains("is not kept"), "{}", sharer.errors());
    let mut get = machines.get("there", &[&ticket, "--hashes=hashes", "--log-level=info"]);
    get.ends_with(0);
    assert!(get.errors().contains("is not kept"), "{}", get.errors());
    assert!(machines.read("there", "output/file") == noise(100_000, 1));
}
