"""Values: what a path, a request, a URL and a file are. Pure, without I/O."""
