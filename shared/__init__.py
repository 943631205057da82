"""What all parts of Retune agree on: events, ids, stores, the ledger, the cycle, the registry and the statistics."""
