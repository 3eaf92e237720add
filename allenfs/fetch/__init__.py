"""Which download happens when: single flight, read-ahead, remembered failures."""
