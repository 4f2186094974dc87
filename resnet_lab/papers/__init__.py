"""What published papers report and how they trained, as data with its source."""
