// Shell: see ARCHITECTURE.md.
