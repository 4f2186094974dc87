"""From a ResolvedNetwork to an `nn.Module`, and what it costs."""
