"""The daemon's life, and the mount table."""
