#define _GNU_SOURCE
#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// ---- waiting for many descriptors ----------------------------------------------------------

const uint32_t synod_poll_in = EPOLLIN, synod_poll_out = EPOLLOUT, synod_poll_hangup = EPOLLHUP,
               synod_poll_read_hangup = EPOLLRDHUP, synod_poll_error = EPOLLERR, synod_poll_edge = EPOLLET;

int synod_poll_create(void) {
  int poller = epoll_create1(EPOLL_CLOEXEC);
  return poller >= 0 ? poller : -errno;
}

static int poll_control(int poller, int operation, int descriptor, uint32_t events, uint64_t token) {
  struct epoll_event event = {.events = events, .data.u64 = token};
  return epoll_ctl(poller, operation, descriptor, &event) == 0 ? 0 : errno;
}

int synod_poll_add(int poller, int descriptor, uint32_t events, uint64_t token) {
  return poll_control(poller, EPOLL_CTL_ADD, descriptor, events, token);
}

int synod_poll_change(int poller, int descriptor, uint32_t events, uint64_t token) {
  return poll_control(poller, EPOLL_CTL_MOD, descriptor, events, token);
}

int synod_poll_forget(int poller, int descriptor) { return poll_control(poller, EPOLL_CTL_DEL, descriptor, 0, 0); }

int synod_poll_wait(int poller, synod_poll_event *events, int capacity, int64_t nanoseconds) {
  static int is_coarse; // The kernel is older than epoll_pwait2 (5.11): milliseconds, rounded up.
  struct epoll_event found[256];
  if (capacity > 256) capacity = 256;
  int count = -1;
  if (!__atomic_load_n(&is_coarse, __ATOMIC_RELAXED)) {
    struct timespec limit = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    count = (int)syscall(SYS_epoll_pwait2, poller, found, capacity, nanoseconds < 0 ? NULL : &limit, NULL, 0);
    if (count < 0 && (errno == ENOSYS || errno == EPERM)) __atomic_store_n(&is_coarse, 1, __ATOMIC_RELAXED);
  }
  if (__atomic_load_n(&is_coarse, __ATOMIC_RELAXED)) {
    int64_t milliseconds = nanoseconds < 0 ? -1 : (nanoseconds + 999999) / 1000000;
    count = epoll_wait(poller, found, capacity, milliseconds > INT_MAX ? INT_MAX : (int)milliseconds);
  }
  if (count < 0) return errno == EINTR ? 0 : -errno;
  for (int i = 0; i < count; i++) events[i] = (synod_poll_event){.token = found[i].data.u64, .events = found[i].events};
  return count;
}

int synod_event_create(void) {
  int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return descriptor >= 0 ? descriptor : -errno;
}

void synod_event_raise(int descriptor) {
  uint64_t one = 1;
  while (write(descriptor, &one, sizeof one) < 0 && errno == EINTR) {}
}

void synod_event_clear(int descriptor) {
  uint64_t count;
  while (read(descriptor, &count, sizeof count) < 0 && errno == EINTR) {}
}

int synod_wait_for(int descriptor, int events, int64_t nanoseconds) {
  struct pollfd one = {.fd = descriptor, .events = (short)events};
  struct timespec limit = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
  int count = ppoll(&one, 1, nanoseconds < 0 ? NULL : &limit, NULL);
  if (count < 0) return errno == EINTR ? 0 : -errno;
  return count;
}

// ---- addresses ---------------------------------------------------------------------------------

static void set_address(synod_address *address, const void *bytes, size_t count) {
  memset(address, 0, sizeof *address);
  if (count > sizeof address->words) count = sizeof address->words;
  memcpy(address->words, bytes, count);
  address->count = (uint32_t)count;
}

int synod_address_ip(const char *text, uint16_t port, synod_address *address) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
    set_address(address, &v4, sizeof v4);
    return 0;
  }
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  char literal[INET6_ADDRSTRLEN];
  const char *scope = strchr(text, '%');
  size_t count = scope ? (size_t)(scope - text) : strlen(text);
  if (count >= sizeof literal) return EINVAL;
  memcpy(literal, text, count);
  literal[count] = 0;
  if (inet_pton(AF_INET6, literal, &v6.sin6_addr) != 1) return EINVAL;
  if (scope && (v6.sin6_scope_id = if_nametoindex(scope + 1)) == 0) return ENODEV;
  set_address(address, &v6, sizeof v6);
  return 0;
}

int synod_address_path(const char *path, synod_address *address) {
  struct sockaddr_un unix_address = {.sun_family = AF_UNIX};
  size_t count = strlen(path);
  if (count == 0) return EINVAL;
  if (count >= sizeof unix_address.sun_path) return ENAMETOOLONG;
  memcpy(unix_address.sun_path, path, count);
  set_address(address, &unix_address, offsetof(struct sockaddr_un, sun_path) + count + 1);
  return 0;
}

int synod_address_parts(const synod_address *address, char *text, size_t capacity, uint16_t *port) {
  const struct sockaddr *any = (const struct sockaddr *)address->words;
  *port = 0;
  if (capacity == 0) return 0;
  text[0] = 0;
  if (address->count < sizeof(sa_family_t)) return 0;
  if (any->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)any;
    *port = ntohs(v4->sin_port);
    return inet_ntop(AF_INET, &v4->sin_addr, text, (socklen_t)capacity) ? 4 : 0;
  }
  if (any->sa_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)any;
    *port = ntohs(v6->sin6_port);
    if (!inet_ntop(AF_INET6, &v6->sin6_addr, text, (socklen_t)capacity)) return 0;
    char name[IF_NAMESIZE];
    size_t used = strlen(text);
    if (v6->sin6_scope_id && if_indextoname(v6->sin6_scope_id, name) && used + strlen(name) + 2 <= capacity)
      snprintf(text + used, capacity - used, "%%%s", name);
    return 6;
  }
  if (any->sa_family == AF_UNIX) {
    const struct sockaddr_un *unix_address = (const struct sockaddr_un *)any;
    size_t count = address->count - offsetof(struct sockaddr_un, sun_path);
    if (address->count <= offsetof(struct sockaddr_un, sun_path)) count = 0;
    count = strnlen(unix_address->sun_path, count);
    if (count >= capacity) count = capacity - 1;
    memcpy(text, unix_address->sun_path, count);
    text[count] = 0;
    return 1;
  }
  return 0;
}

int synod_address_resolve(const char *host, uint16_t port, synod_address *addresses, int capacity) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV}, *found = NULL;
  char service[8];
  snprintf(service, sizeof service, "%u", (unsigned)port);
  int code = getaddrinfo(host, service, &hints, &found);
  if (code != 0) return code < 0 ? code : -code;
  int count = 0;
  for (struct addrinfo *one = found; one && count < capacity; one = one->ai_next)
    if (one->ai_family == AF_INET || one->ai_family == AF_INET6)
      set_address(&addresses[count++], one->ai_addr, one->ai_addrlen);
  freeaddrinfo(found);
  return count;
}

const char *synod_address_resolve_error(int code) { return gai_strerror(code); }

// ---- sockets -----------------------------------------------------------------------------------

static const struct sockaddr *any_address(const synod_address *address) {
  return (const struct sockaddr *)address->words;
}

int synod_socket_open(const synod_address *address) {
  int descriptor = socket(any_address(address)->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return descriptor >= 0 ? descriptor : -errno;
}

int synod_socket_listen(int descriptor, const synod_address *address, int backlog, int shares_port, unsigned mode) {
  int on = 1, family = any_address(address)->sa_family;
  if (family == AF_UNIX) {
    // What a process that was killed left behind: nobody answers there.
    const char *path = ((const struct sockaddr_un *)any_address(address))->sun_path;
    struct stat status;
    if (lstat(path, &status) == 0 && S_ISSOCK(status.st_mode)) {
      int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      if (probe >= 0) {
        if (connect(probe, any_address(address), address->count) < 0 && errno == ECONNREFUSED) unlink(path);
        close(probe);
      }
    }
  } else {
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (shares_port) setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (family == AF_INET6) setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  if (bind(descriptor, any_address(address), address->count) < 0) return errno;
  if (family == AF_UNIX) {
    const char *path = ((const struct sockaddr_un *)any_address(address))->sun_path;
    if (chmod(path, mode) < 0) return errno;
  }
  return listen(descriptor, backlog) == 0 ? 0 : errno;
}

int synod_socket_connect(int descriptor, const synod_address *address) {
  if (connect(descriptor, any_address(address), address->count) == 0) return 0;
  return errno == EINTR ? EINPROGRESS : errno;
}

int synod_socket_accept(int descriptor, synod_address *peer) {
  socklen_t count = sizeof peer->words;
  memset(peer, 0, sizeof *peer);
  int accepted;
  do
    accepted = accept4(descriptor, (struct sockaddr *)peer->words, &count, SOCK_NONBLOCK | SOCK_CLOEXEC);
  while (accepted < 0 && errno == EINTR);
  peer->count = (uint32_t)count;
  return accepted >= 0 ? accepted : -errno;
}

int synod_socket_incoming_cpu(int descriptor) {
  int processor = -1;
  socklen_t count = sizeof processor;
  return getsockopt(descriptor, SOL_SOCKET, SO_INCOMING_CPU, &processor, &count) == 0 ? processor : -1;
}

int synod_socket_failure(int descriptor) {
  int code = 0;
  socklen_t count = sizeof code;
  return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &count) == 0 ? code : errno;
}

int synod_socket_local(int descriptor, synod_address *address) {
  socklen_t count = sizeof address->words;
  memset(address, 0, sizeof *address);
  if (getsockname(descriptor, (struct sockaddr *)address->words, &count) < 0) return errno;
  address->count = (uint32_t)count;
  return 0;
}

int synod_socket_peer(int descriptor, synod_address *address) {
  socklen_t count = sizeof address->words;
  memset(address, 0, sizeof *address);
  if (getpeername(descriptor, (struct sockaddr *)address->words, &count) < 0) return errno;
  address->count = (uint32_t)count;
  return 0;
}

void synod_socket_no_delay(int descriptor) {
  int on = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void synod_socket_keep_alive(int descriptor, int idle, int interval, int count) {
  int on = 1;
  setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  if (idle > 0) setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  if (interval > 0) setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  if (count > 0) setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

void synod_socket_buffers(int descriptor, int receive_bytes, int send_bytes) {
  if (receive_bytes > 0) setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
  if (send_bytes > 0) setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
}

void synod_socket_reset_on_close(int descriptor) {
  struct linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

int64_t synod_socket_receive(int descriptor, void *bytes, size_t count) {
  ssize_t got;
  do got = recv(descriptor, bytes, count, MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  return got >= 0 ? got : -errno;
}

int64_t synod_socket_send(int descriptor, const void *bytes, size_t count) {
  ssize_t sent;
  do sent = send(descriptor, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  return sent >= 0 ? sent : -errno;
}

int64_t synod_socket_send_two(int descriptor, const void *first, size_t first_count, const void *second,
                              size_t second_count) {
  struct iovec parts[2] = {{(void *)first, first_count}, {(void *)second, second_count}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  ssize_t sent;
  do sent = sendmsg(descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  return sent >= 0 ? sent : -errno;
}

void synod_socket_discard(int descriptor, size_t limit) {
  char bytes[16384];
  while (limit > 0) {
    ssize_t got = recv(descriptor, bytes, limit < sizeof bytes ? limit : sizeof bytes, MSG_DONTWAIT);
    if (got <= 0) return;
    limit -= (size_t)got;
  }
}

int synod_socket_shut(int descriptor, int both) {
  return shutdown(descriptor, both ? SHUT_RDWR : SHUT_WR) == 0 ? 0 : errno;
}

int synod_descriptor_reserve(void) {
  int descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
  return descriptor >= 0 ? descriptor : -errno;
}

void synod_descriptor_close(int descriptor) {
  if (descriptor >= 0) close(descriptor);
}

// ---- the process -----------------------------------------------------------------------------------

int64_t synod_raise_file_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  if (limit.rlim_cur < limit.rlim_max) {
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) limit.rlim_cur = before;
  }
  return limit.rlim_cur > INT_MAX ? INT_MAX : (int64_t)limit.rlim_cur;
}

static int forward_to[NSIG];

static void forward_signal(int signal) {
  int kept = errno, descriptor = __atomic_load_n(&forward_to[signal], __ATOMIC_ACQUIRE) - 1;
  unsigned char number = (unsigned char)signal;
  if (descriptor >= 0 && write(descriptor, &number, 1) < 0) {} // A full pipe already says that one has come.
  errno = kept;
}

int synod_signal_forward(int signal, int descriptor) {
  if (signal <= 0 || signal >= NSIG) return EINVAL;
  __atomic_store_n(&forward_to[signal], descriptor + 1, __ATOMIC_RELEASE);
  struct sigaction action = {.sa_handler = forward_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  return sigaction(signal, &action, NULL) == 0 ? 0 : errno;
}

int synod_signal_restore(int signal) {
  if (signal <= 0 || signal >= NSIG) return EINVAL;
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigemptyset(&action.sa_mask);
  int code = sigaction(signal, &action, NULL) == 0 ? 0 : errno;
  __atomic_store_n(&forward_to[signal], 0, __ATOMIC_RELEASE);
  return code;
}

int synod_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : errno; }

int synod_write_new_file(const char *path, const void *bytes, size_t count, unsigned mode) {
  int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (descriptor < 0) return errno;
  int code = 0;
  const char *at = bytes;
  while (count > 0 && code == 0) {
    ssize_t done = write(descriptor, at, count);
    if (done > 0)
      at += done, count -= (size_t)done;
    else if (errno != EINTR)
      code = errno;
  }
  if (code == 0 && fsync(descriptor) < 0) code = errno;
  if (close(descriptor) < 0 && code == 0) code = errno;
  if (code != 0) unlink(path);
  return code;
}
