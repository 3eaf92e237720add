"""What ``allenfs doctor`` looks at: a module for each side of the machine."""
