//! Nodes in one process, over a network within it, as those see them who embed the library.

mod disks;
mod origin;
mod private;
mod remote;
mod transfers;
mod world;
