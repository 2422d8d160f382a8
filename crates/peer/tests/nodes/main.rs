//! Nodes in one process, over a network within it, as those see them who embed the library.

mod asked_again;
mod disks;
mod first_pieces;
mod in_order;
mod origin;
mod private;
mod remote;
mod transfers;
mod world;
