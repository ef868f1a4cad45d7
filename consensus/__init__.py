"""The consensus room: how blocks are agreed - a pure state machine behind one door, `handle`."""
