"""Verified files on disk, least recently used out first."""
