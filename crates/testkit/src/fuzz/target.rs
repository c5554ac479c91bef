//! What is fed: the engine's parsers of bytes on disk, the program's of what people type, the
//! doors', that of chunks of time series, and those of volumes of blobs.
//!
//! 1. A target's name is its own among all, and begins the names of its files in the corpus.

use olivine::fuzzing as program;
use olivine_blobs::fuzzing as blobs;
use olivine_engine::fuzzing as engine;
use olivine_model::series::chunk::fuzzing as chunk;

use super::doors;

/// One parser, or a few that see the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One of the engine.
    Engine(engine::Target),
    /// One of the program.
    Program(program::Target),
    /// One of the doors, or of what goes between processes.
    Door(doors::Target),
    /// Chunks of time series.
    Chunk,
    /// One of volumes of blobs.
    Blobs(blobs::Target),
}

impl Target {
    /// Every target.
    pub fn all() -> impl Iterator<Item = Target> {
        let engine = engine::Target::ALL.into_iter().map(Target::Engine);
        let program = program::Target::ALL.into_iter().map(Target::Program);
        let doors = doors::Target::ALL.into_iter().map(Target::Door);
        let blobs = blobs::Target::ALL.into_iter().map(Target::Blobs);
        engine.chain(program).chain(doors).chain([Target::Chunk]).chain(blobs)
    }

    /// Its name.
    pub fn name(self) -> String {
        match self {
            Target::Engine(target) => format!("{target:?}"),
            Target::Program(target) => format!("{target:?}"),
            Target::Door(target) => format!("{target:?}"),
            Target::Chunk => "Chunk".to_owned(),
            Target::Blobs(target) => format!("{target:?}"),
        }
        .to_lowercase()
    }

    /// Its number, by which its seeds differ from those of the others.
    pub(super) fn number(self) -> u64 {
        match self {
            Target::Engine(target) => target as u64,
            Target::Program(target) => 64 + target as u64,
            Target::Door(target) => 128 + target as u64,
            Target::Chunk => 192,
            Target::Blobs(target) => 196 + target as u64,
        }
    }

    /// Of a hundred executions, how many are the target's: quick parsers get more.
    pub(super) fn share(self) -> u64 {
        use blobs::Target as B;
        use doors::Target as D;
        use engine::Target as E;
        use program::Target as P;
        match self {
            Target::Engine(E::Batch | E::Edit) => 11,
            Target::Engine(E::Manifest | E::Log | E::Table | E::Values) => 9,
            Target::Engine(E::Current) => 3,
            Target::Engine(E::Backup) | Target::Blobs(B::Extent | B::Volume | B::Place) => 2,
            Target::Program(P::Arguments | P::Entries) | Target::Blobs(B::Talk) => 6,
            Target::Door(D::JsonDoor | D::Commands | D::Points | D::Queries | D::BlobDoor) => 5,
            Target::Engine(E::Pointer)
            | Target::Program(P::Line | P::Json | P::Configuration)
            | Target::Door(D::WordsDoor | D::HttpDoor | D::InfluxDoor | D::Replies)
            | Target::Chunk => 4,
        }
    }

    /// How many samples of it the corpus on disk has: of every command a call or two.
    pub(super) fn samples(self) -> u64 {
        match self {
            Target::Program(program::Target::Arguments) => 24,
            Target::Door(
                doors::Target::HttpDoor | doors::Target::InfluxDoor | doors::Target::BlobDoor,
            ) => 9,
            // Of every form of values one or two.
            Target::Chunk => 16,
            _ => 6,
        }
    }

    /// Parses `bytes`: how many things they hold, or what is wrong with them.
    pub(super) fn parse(self, bytes: &[u8]) -> Result<u64, String> {
        match self {
            Target::Engine(target) => engine::parse(target, bytes),
            Target::Program(target) => program::parse(target, bytes),
            Target::Door(target) => doors::parse(target, bytes),
            Target::Chunk => chunk::parse(bytes).map_err(|damage| damage.to_string()),
            Target::Blobs(target) => blobs::parse(target, bytes),
        }
    }

    /// Where checksums stand in `bytes`.
    pub(super) fn seams(self, bytes: &[u8]) -> Vec<(usize, usize)> {
        match self {
            Target::Engine(target) => engine::seams(target, bytes),
            Target::Blobs(target) => blobs::seams(target, bytes),
            Target::Program(_) | Target::Door(_) | Target::Chunk => Vec::new(),
        }
    }

    /// Makes the checksums right of what was changed.
    pub(super) fn mend(self, bytes: &mut Vec<u8>, seams: &[(usize, usize)]) {
        match self {
            Target::Engine(target) => engine::mend(target, bytes, seams),
            Target::Blobs(target) => blobs::mend(target, bytes, seams),
            Target::Program(_) | Target::Door(_) | Target::Chunk => {}
        }
    }

    /// Bytes that it takes, drawn from `seed`.
    pub(super) fn sample(self, seed: u64) -> Result<Vec<u8>, String> {
        match self {
            Target::Engine(target) => {
                engine::sample(target, seed).map_err(|error| error.to_string())
            }
            Target::Program(target) => Ok(program::sample(target, seed)),
            Target::Door(target) => Ok(doors::sample(target, seed)),
            Target::Chunk => Ok(chunk::sample(seed)),
            Target::Blobs(target) => blobs::sample(target, seed),
        }
    }
}
