"""Moving bytes and waiting: the aiohttp adapter, the engine that sends calls through it, and pages."""
