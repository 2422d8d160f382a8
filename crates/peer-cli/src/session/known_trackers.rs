//! The trackers that the user has trusted: a file of lines `HOST:PORT ID`, as ssh keeps one of hosts.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use protocol::PeerId;

/// What a new file begins with.
const HEAD: &str = "# Trackers that were trusted at the first contact, by `peer-cli get -i`, `ls` and others. To be asked again about \
                    one, remove its line.\n";
/// Longest file that is read: some ten thousand lines.
const LONGEST: u64 = 1 << 20;

/// A file of trackers, which need not be there.
pub struct KnownTrackers {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// A line.
struct Entry {
    /// Which one, counted from 1.
    line: usize,
    place: String,
    id: PeerId,
}

impl KnownTrackers {
    /// Reads it. What cannot be read is an error, not an empty file: else a tracker whose id has changed would be a new one.
    pub fn read(path: &Path) -> io::Result<Self> {
        // Windows reads nothing of it while another program adds to it, and has it locked.
        let text = atomic_file::open_patiently(|| read_text(path))?;
        if text.len() as u64 > LONGEST {
            return Err(io::Error::other("it is too long to be a list of trackers"));
        }
        Ok(KnownTrackers { path: path.to_owned(), entries: entries(&text) })
    }

    /// The id that the tracker there had, and the line that says so. The last one counts.
    pub fn id_at(&self, place: &str) -> Option<(PeerId, usize)> {
        self.entries.iter().rev().find(|entry| entry.place == place).map(|entry| (entry.id, entry.line))
    }

    /// The other places where a tracker of this id was trusted.
    pub fn places_of(&self, id: PeerId) -> Vec<&str> {
        self.entries.iter().filter(|entry| entry.id == id).map(|entry| entry.place.as_str()).collect()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line. Several programs may do so at once.
    pub fn add(&self, place: &str, id: PeerId) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::options().read(true).append(true).create(true).open(&self.path)?;
        // Where there are no locks, a line is written in one go all the same.
        let _ = file.lock();
        let mut text = String::new();
        let length = file.metadata()?.len();
        if length == 0 {
            text.push_str(HEAD);
        } else {
            // The program that wrote the last line may have been cut off.
            let mut last = [0];
            file.seek(SeekFrom::Start(length - 1))?;
            file.read_exact(&mut last)?;
            text.extend((last != *b"\n").then_some('\n'));
        }
        text.push_str(&format!("{place} {id}\n"));
        file.write_all(text.as_bytes())
    }
}

/// The beginning of the file; nothing if it is not there.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    match File::open(path) {
        // A pipe would be waited for.
        Ok(file) if !file.metadata()?.is_file() => return Err(io::Error::other("it is not a file")),
        Ok(file) => drop(file.take(LONGEST + 1).read_to_string(&mut text)?),
        Err(error) if atomic_file::is_gone(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(text)
}

fn entries(text: &str) -> Vec<Entry> {
    let entry = |(number, line): (usize, &str)| {
        let mut words = line.split_whitespace();
        let (place, id, rest) = (words.next()?, words.next()?, words.next());
        let id = id.parse().ok().filter(|_| rest.is_none() && !place.starts_with('#'))?;
        Some(Entry { line: number + 1, place: place.to_owned(), id })
    };
    text.lines().enumerate().filter_map(entry).collect()
}

/// How a tracker is called in the file: its host as it was typed, but for what makes no difference.
pub fn place(host: &str, port: u16) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        Ok(ip) => format!("{ip}:{port}"),
        // A scope of a link-local address, or a name.
        Err(_) if host.contains(':') => format!("[{}]:{port}", host.to_lowercase()),
        Err(_) => format!("{}:{port}", host.trim_end_matches('.').to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn id(byte: u8) -> PeerId {
        PeerId(Digest([byte; 32]))
    }

    #[test]
    fn what_was_added_is_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/known-trackers");
        let known = KnownTrackers::read(&path).unwrap();
        assert!(known.id_at("a:1").is_none());
        known.add("a:1", id(1)).unwrap();
        known.add("b:1", id(1)).unwrap();
        let known = KnownTrackers::read(&path).unwrap();
        assert_eq!((known.id_at("a:1"), known.id_at("a:2")), (Some((id(1), 2)), None));
        assert_eq!(known.places_of(id(1)), ["a:1", "b:1"]);
        known.add("a:1", id(2)).unwrap();
        assert_eq!(KnownTrackers::read(&path).unwrap().id_at("a:1"), Some((id(2), 4)));
    }

    #[test]
    fn lines_that_say_nothing_are_passed_over_and_one_that_was_cut_off_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known-trackers");
        fs::write(&path, format!("# a:1 {}\n\na:1\nb:1 xyz\nc:1 {} more\n  d:1   {}\na:1 5d", id(1), id(1), id(3)))
            .unwrap();
        let known = KnownTrackers::read(&path).unwrap();
        assert!(["a:1", "b:1", "c:1", "#"].iter().all(|place| known.id_at(place).is_none()));
        assert_eq!(known.id_at("d:1"), Some((id(3), 6)));
        known.add("e:1", id(4)).unwrap();
        assert_eq!(KnownTrackers::read(&path).unwrap().id_at("e:1"), Some((id(4), 8)));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_no_empty_list() {
        let folder = tempfile::tempdir().unwrap();
        assert!(KnownTrackers::read(folder.path()).is_err());
        let path = folder.path().join("known-trackers");
        fs::write(&path, [0xff; 10]).unwrap();
        assert!(KnownTrackers::read(&path).is_err());
    }

    #[test]
    fn of_many_programs_that_add_each_one_is_heard() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known-trackers");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope
                    .spawn(move || KnownTrackers::read(path).unwrap().add(&format!("h:{number}"), id(number)).unwrap());
            }
        });
        let known = KnownTrackers::read(&path).unwrap();
        assert!((0..8).all(|number| known.id_at(&format!("h:{number}")).is_some_and(|(found, _)| found == id(number))));
    }

    #[test]
    fn a_host_is_the_same_however_it_is_spelt() {
        assert_eq!(place("Tracker.Example.", 9999), "tracker.example:9999");
        assert_eq!(place("10.0.0.1", 1), "10.0.0.1:1");
        for host in ["::1", "[::1]", "0:0:0:0:0:0:0:1"] {
            assert_eq!(place(host, 1), "[::1]:1");
        }
        assert_eq!(place("::ffff:10.0.0.1", 1), "10.0.0.1:1");
        assert_eq!(place("fe80::1%eth0", 1), "[fe80::1%eth0]:1");
    }
}
