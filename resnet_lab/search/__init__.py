"""What to try next, and which of what was tried is worth a cell of its own. Nothing is trained here: whoever asks trains, and tells."""
