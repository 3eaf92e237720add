"""``allenfs doctor``: checks of FUSE, the machine, the store and the service."""
