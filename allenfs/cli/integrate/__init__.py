"""``allenfs integrate``: completions, manual pages, mount helpers, a systemd unit."""
