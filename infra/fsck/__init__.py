"""Whether a store at rest agrees with itself: every inconsistency is found and named."""
