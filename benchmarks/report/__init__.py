"""Results made readable: what the plots show, the plots, and a page that needs nothing else."""
