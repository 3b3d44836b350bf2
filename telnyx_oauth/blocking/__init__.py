"""Running the async core for callers that block."""
