"""Files fetched ahead: which ones, where from, how many at a time, and what is said."""
