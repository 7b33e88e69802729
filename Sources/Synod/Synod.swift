// Synod: see ARCHITECTURE.md.
