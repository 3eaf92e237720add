"""Stat, list, open, read, readlink and xattrs in domain terms; no FUSE."""
