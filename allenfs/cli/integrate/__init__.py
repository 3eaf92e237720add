"""What makes the rest of the system know of allenfs: shells, man, mount, systemd."""
