"""The checks of preflight, by subject. Each is a small function over `Inventory`."""
