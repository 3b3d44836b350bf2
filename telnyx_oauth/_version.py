"""The package's version, for the build, the `User-Agent` header and `telnyx_oauth.__version__`."""

__version__ = "0.1.0"
