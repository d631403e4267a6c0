"""What a graph looks like from afar: namespaces, what repeats, and what is alike."""
