"""Access tokens: where they come from, how they are kept fresh, and where they are kept."""
