// Sockets, authentication, health and metrics over the library.
