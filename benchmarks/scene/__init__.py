"""Where a benchmark runs: networks of real nodes, their links, their faults, and samples of them.

The soak tests and `medledger devnet` stand on the same ground.
"""
