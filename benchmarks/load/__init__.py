"""The load: people, what they sign, the processes that send it, reading back the outcome."""
