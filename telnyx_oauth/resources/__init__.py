"""The 17 operations, each written once."""
