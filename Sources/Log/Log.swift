// Log: see ARCHITECTURE.md.
