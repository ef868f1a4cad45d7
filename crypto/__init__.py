"""The crypto room: bytes and proofs that every other room builds on."""
