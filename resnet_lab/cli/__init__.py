"""The commands: one module each, nothing heavy at import."""
