"""Pages under the official package's names."""

from .blocking.rows import Page as SyncDefaultFlatPagination
from .transport.pagination import AsyncPage as AsyncDefaultFlatPagination

__all__ = ["AsyncDefaultFlatPagination", "SyncDefaultFlatPagination"]
