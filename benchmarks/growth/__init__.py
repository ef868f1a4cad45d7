"""How a consortium grows: big states, long chains, more members; how that is measured."""
