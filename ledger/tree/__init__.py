"""The authenticated state: a versioned sparse Merkle tree in sixteen-way nodes, free of I/O."""
