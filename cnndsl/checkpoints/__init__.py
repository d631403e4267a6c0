"""Trained weights in files: reading what strangers wrote, and fitting it to a network."""
