"""From a NetworkSpec to an `nn.Module`, and what it costs."""
