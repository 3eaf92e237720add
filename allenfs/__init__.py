"""A read-only filesystem over the Allen Brain Atlas image services."""

__version__ = "0.1.0"
