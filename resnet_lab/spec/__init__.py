"""What a person may write: reading, resolving and fingerprinting questions. No torch."""
