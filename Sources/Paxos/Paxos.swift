// Paxos: see ARCHITECTURE.md.
