"""What runs and studies leave behind on disk. No torch."""
