"""``allenfs prefetch``: download files before they are opened."""
