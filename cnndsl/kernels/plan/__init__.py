"""Which kernel computes what on a GPU: candidates, what they cost, and the choice among them."""
