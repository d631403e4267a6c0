"""Networks from elsewhere, as text: recognised, written short, and proven equal."""
