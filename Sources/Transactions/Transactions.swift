// Transactions: see ARCHITECTURE.md.
