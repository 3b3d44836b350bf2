"""Running the async core for callers that block: a private event loop, and rows that carry each method over."""
