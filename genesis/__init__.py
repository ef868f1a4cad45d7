"""The genesis room: the consortium's founding document and the ceremony that makes it."""
