"""The interface to the kernel: FUSE, errnos, and the calling processes."""
