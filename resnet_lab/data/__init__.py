"""Images for training and evaluation: a dataset's name in, batches out."""
