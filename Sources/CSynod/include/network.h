// Sockets and epoll for Swift: no casts of address families, no packed structures, no variadic calls, EINTR retried.
// Results are a count or a descriptor, or the negative error number; or, where said, 0 or the error number.
#ifndef SYNOD_NETWORK_H
#define SYNOD_NETWORK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- waiting for many descriptors ----------------------------------------------------------

typedef struct {
  uint64_t token;
  uint32_t events;
} synod_poll_event;

/// The bits of EPOLLIN … (macros over an enum in C).
extern const uint32_t synod_poll_in, synod_poll_out, synod_poll_hangup, synod_poll_read_hangup, synod_poll_error,
    synod_poll_edge;

int synod_poll_create(void);
/// 0 or the error number. `synod_poll_forget` needs no events.
int synod_poll_add(int poller, int descriptor, uint32_t events, uint64_t token);
int synod_poll_change(int poller, int descriptor, uint32_t events, uint64_t token);
int synod_poll_forget(int poller, int descriptor);
/// Waits up to `nanoseconds` (negative: without end) and fills at most `capacity` (≤ 256) events. EINTR counts as no events.
int synod_poll_wait(int poller, synod_poll_event *events, int capacity, int64_t nanoseconds);
/// A descriptor that others make readable, and its two ends.
int synod_event_create(void);
void synod_event_raise(int descriptor);
void synod_event_clear(int descriptor);
/// Waits until one descriptor has one of `events` (poll(2): POLLIN 1, POLLOUT 4) or an error; 1, 0 (time is up) or -errno.
int synod_wait_for(int descriptor, int events, int64_t nanoseconds);

// ---- addresses and sockets ---------------------------------------------------------------------

/// A socket address of any family.
typedef struct {
  uint64_t words[16];
  uint32_t count;
} synod_address;

/// 0 or the error number: an IPv4 or IPv6 literal (with %scope), or the path of a Unix socket.
int synod_address_ip(const char *text, uint16_t port, synod_address *address);
int synod_address_path(const char *path, synod_address *address);
/// The family (4, 6, 1 for a Unix path, 0 unknown), with its text (host or path) and its port.
int synod_address_parts(const synod_address *address, char *text, size_t capacity, uint16_t *port);
/// The addresses of a host name: their number, or the negative EAI_ code. Blocks.
int synod_address_resolve(const char *host, uint16_t port, synod_address *addresses, int capacity);
const char *synod_address_resolve_error(int code);

/// A non-blocking stream socket of the address's family.
int synod_socket_open(const synod_address *address);
/// 0 or the error number. Binds and listens; a Unix path gets the given permissions.
int synod_socket_listen(int descriptor, const synod_address *address, int backlog, int shares_port, unsigned mode);
int synod_socket_connect(int descriptor, const synod_address *address);
int synod_socket_accept(int descriptor, synod_address *peer);
/// The processor on which the connection's last packet came in; -1 where the system does not say.
int synod_socket_incoming_cpu(int descriptor);
/// 0 or the error number of what became of a connection attempt or of an asynchronous failure.
int synod_socket_failure(int descriptor);
int synod_socket_local(int descriptor, synod_address *address);
int synod_socket_peer(int descriptor, synod_address *address);
/// TCP only; ignored elsewhere.
void synod_socket_no_delay(int descriptor);
/// Probing of silent peers: idle seconds before the first probe, between probes, and how many go unanswered.
void synod_socket_keep_alive(int descriptor, int idle, int interval, int count);
/// Kernel buffers, for tests that want them small; 0 leaves one as it is.
void synod_socket_buffers(int descriptor, int receive_bytes, int send_bytes);
/// close() sends a reset and drops what is unsent.
void synod_socket_reset_on_close(int descriptor);

int64_t synod_socket_receive(int descriptor, void *bytes, size_t count);
/// Never raises SIGPIPE.
int64_t synod_socket_send(int descriptor, const void *bytes, size_t count);
int64_t synod_socket_send_two(int descriptor, const void *first, size_t first_count, const void *second,
                              size_t second_count);
/// Drops up to `limit` bytes that have come, so that closing does not reset what we sent.
void synod_socket_discard(int descriptor, size_t limit);
int synod_socket_shut(int descriptor, int both);
/// Keeps one descriptor in reserve: an open of /dev/null.
int synod_descriptor_reserve(void);
void synod_descriptor_close(int descriptor);

// ---- the process -----------------------------------------------------------------------------------

/// Raises the soft limit of open files to the hard one; the limit now in force, or -errno.
int64_t synod_raise_file_limit(void);
/// From now on the signal writes its number, one byte, to the descriptor; 0 or the error number.
int synod_signal_forward(int signal, int descriptor);
/// Gives the signal back to the system's default; 0 or the error number.
int synod_signal_restore(int signal);
/// A pipe, both ends non-blocking and close-on-exec; 0 or the error number.
int synod_pipe(int ends[2]);
/// Writes and syncs all bytes into a new file with these permissions; 0 or the error number (EEXIST: it is not replaced).
int synod_write_new_file(const char *path, const void *bytes, size_t count, unsigned mode);

#ifdef __cplusplus
}
#endif
#endif
