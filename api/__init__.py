"""The api room: what a node answers over HTTP, and what it needs from the node to do so."""
