"""What a network looks like: its layers, its drawing, what tells it from another, and what it costs beside what others say."""
