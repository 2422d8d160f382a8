//! What the journal claims is true after any crash: 1,000 power failures, each with its seed.

use std::sync::Arc;

use fastrand::Rng;
use p2p_fileshare_storage::wrappers::Forgetful;
use p2p_fileshare_storage::{Access, Backend, Checkpoint, FileSpec, Journal, Storage, backend};
use protocol::{ContentId, Digest, PieceRange, PieceSet};

/// Three blocks and a bit, so that pieces share blocks with their neighbours.
const PIECE: usize = 3 * 4096 + 100;
const CONTENT: ContentId = ContentId(Digest([7; 32]));

/// Never zero, so that a lost block differs from a written one.
fn piece_bytes(piece: u32, len: usize) -> Vec<u8> {
    (0..len).map(|at| (piece as usize * 131 + at * 7) as u8 | 1).collect()
}

struct World {
    folder: tempfile::TempDir,
    platter: Arc<dyn Backend>,
    disk: Forgetful,
    pieces: u32,
    files: [FileSpec; 1],
}

impl World {
    fn new(rng: &mut Rng) -> Self {
        let pieces = rng.u32(1..40);
        let size = (pieces as usize * PIECE - rng.usize(0..PIECE)) as u64;
        let platter = backend("memory").unwrap();
        World {
            folder: tempfile::tempdir().unwrap(),
            disk: Forgetful::new(platter.clone()),
            platter,
            pieces,
            files: [FileSpec { path: "part".into(), size }],
        }
    }

    fn journal(&self) -> std::path::PathBuf {
        self.folder.path().join("journal")
    }

    fn open_journal(&self) -> (Journal, PieceSet) {
        Journal::open(&self.journal(), CONTENT, self.pieces).unwrap()
    }

    fn place(&self, piece: u32) -> (u64, usize) {
        let offset = u64::from(piece) * PIECE as u64;
        (offset, (self.files[0].size - offset).min(PIECE as u64) as usize)
    }

    fn write(&self, storage: &dyn Storage, piece: u32) {
        let (offset, len) = self.place(piece);
        storage.write(0, offset, &piece_bytes(piece, len)).unwrap();
    }

    /// Claimed pieces that are not on the platter as they were written.
    fn lies(&self, claimed: &PieceSet) -> Vec<u32> {
        let platter = self.platter.open(&self.files, Access::Write).unwrap();
        let lie = |piece: &u32| {
            let (offset, len) = self.place(*piece);
            platter.read(0, offset, len).unwrap() != piece_bytes(*piece, len)
        };
        (0..self.pieces).filter(|&piece| claimed.contains(piece)).filter(lie).collect()
    }
}

/// Downloads, commits and crashes at random, several times over one content; every restart must find the truth.
fn survives(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let world = World::new(&mut rng);
    let mut promised = PieceSet::empty(world.pieces);
    for _ in 0..3 {
        let (journal, claimed) = world.open_journal();
        assert_eq!(world.lies(&claimed), [], "seed {seed}: claimed, but lost");
        for piece in (0..world.pieces).filter(|&piece| promised.contains(piece)) {
            assert!(claimed.contains(piece), "seed {seed}: piece {piece} was promised and is not claimed");
        }
        let storage = world.disk.open(&world.files, Access::Write).unwrap();
        let checkpoint = Checkpoint::new(storage.clone(), journal);
        let mut missing: Vec<u32> = (0..world.pieces).filter(|&piece| !claimed.contains(piece)).collect();
        rng.shuffle(&mut missing);
        missing.truncate(rng.usize(0..=missing.len()));
        let mut stored = claimed;
        for piece in missing {
            world.write(&*storage, piece);
            checkpoint.stored([piece], PIECE as u64);
            stored.insert(piece);
            if rng.u8(..) < 40 {
                checkpoint.commit().unwrap();
                promised = stored.clone();
            }
        }
        let before = std::fs::read(world.journal()).unwrap();
        if rng.bool() {
            // The crash comes in the middle of a commit: the data is synced, the record perhaps half written.
            checkpoint.commit().unwrap();
            let mut torn = std::fs::read(world.journal()).unwrap();
            torn.truncate(rng.usize(before.len()..=torn.len()));
            let garbage = rng.usize(0..40);
            torn.extend(std::iter::repeat_with(|| rng.u8(..)).take(garbage));
            std::fs::write(world.journal(), torn).unwrap();
        }
        let odds = rng.u8(..);
        world.disk.crash(|| rng.u8(..) < odds).unwrap();
    }
}

#[test]
fn a_thousand_crashes_leave_no_false_claim() {
    (0..1000).for_each(survives);
}

/// Were the journal written before the data is synced, these crashes would show it.
#[test]
fn a_claim_before_the_sync_would_be_caught() {
    let caught = |seed| {
        let mut rng = Rng::with_seed(seed);
        let world = World::new(&mut rng);
        let storage = world.disk.open(&world.files, Access::Write).unwrap();
        world.write(&*storage, 0);
        world.open_journal().0.commit(&[PieceRange { first: 0, count: 1 }]).unwrap();
        world.disk.crash(|| rng.bool()).unwrap();
        !world.lies(&world.open_journal().1).is_empty()
    };
    assert!((0..20).any(caught));
}
