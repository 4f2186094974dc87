"""One network on your own images: trained, measured, used, and its weights taken in and out."""
