"""Parts on their own: what one of them costs, without a network around it."""
