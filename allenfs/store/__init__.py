"""Verified files on disk, the least recently used evicted first."""
