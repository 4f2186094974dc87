"""Whether the catalogue's networks equal the ones they are called after: same parameters, same multiply-adds, same outputs."""
