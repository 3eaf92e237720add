"""The ways in: the kernel's."""
