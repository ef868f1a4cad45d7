"""The commands room: the `medledger` command line, one click group per file."""
