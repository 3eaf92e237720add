"""What exists: records become directories and documents."""
