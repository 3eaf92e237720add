"""HTTP: one request becomes checked bytes or rows."""
