"""The mount daemon, mountpoints and the mount table."""
