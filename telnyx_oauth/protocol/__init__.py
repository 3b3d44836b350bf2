"""The rules: pure functions and frozen values. Nothing here does I/O, reads a clock or rolls dice."""
