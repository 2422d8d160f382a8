//! Behaviour of the engine, in virtual time.
