"""What a person may write: reading, resolving and fingerprinting ablations. No torch."""
