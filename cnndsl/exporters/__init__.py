"""Networks written for other programs to load."""
