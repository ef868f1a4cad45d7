"""The storage room: durability - blocks, world state, vote journal, blobs and sidecars."""
