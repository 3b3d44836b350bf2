"""Benchmarks: the same work done by this package and by its peers, in turns, as ratios."""
