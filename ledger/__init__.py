"""The ledger room: what is agreed - transactions, blocks, receipts, state, the transition."""
