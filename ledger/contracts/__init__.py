"""The native contracts: one file for each subject on which transactions act."""
