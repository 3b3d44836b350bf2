"""Places that keep grants between runs and between processes."""
