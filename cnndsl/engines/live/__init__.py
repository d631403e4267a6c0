"""Between a user's module and its engine: what may have changed, and who runs the call."""
