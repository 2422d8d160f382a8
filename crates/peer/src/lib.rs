//! A peer of the swarm as a library: the asynchronous shell around the engine.
