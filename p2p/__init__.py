"""The p2p room: authenticated, bounded frames between known peers."""
