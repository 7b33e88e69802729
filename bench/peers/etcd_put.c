// Puts to etcd through its JSON gateway, a connection for each client, requests one after the other.
//
//   etcd_put PORT CLIENTS SECONDS
#include "measure.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static int port;
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void *open_socket(struct client *c) {
  (void)c;
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd, (struct sockaddr *)&address, sizeof address)) die("etcd", "cannot connect");
  return (void *)(intptr_t)fd;
}

static void put(struct client *c) {
  int fd = (int)(intptr_t)c->state;
  // Twelve random bytes and seventy-five of value, in base64 as the gateway wants them.
  char key[17] = {0}, value[101] = {0}, body[256], request[512];
  for (int i = 0; i < 16; i++) key[i] = alphabet[next_random(&c->seed) >> 20 & 63];
  memset(value, 'd', 100);
  int size = snprintf(body, sizeof body, "{\"key\":\"%s\",\"value\":\"%s\"}", key, value);
  size = snprintf(
    request, sizeof request, "POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
    size, body);
  if (write(fd, request, size) != size) die("etcd", "cannot write");
  char answer[4096];
  int got = 0;
  while (1) {
    int n = read(fd, answer + got, sizeof answer - 1 - got);
    if (n <= 0) die("etcd", "closed the connection");
    got += n;
    answer[got] = 0;
    char *end = strstr(answer, "\r\n\r\n");
    if (!end) continue;
    char *length = strstr(answer, "Content-Length: ");
    if (strncmp(answer, "HTTP/1.1 200", 12) || !length) die("etcd", answer);
    if (end + 4 + atoi(length + 16) <= answer + got) return;
  }
}

int main(int count, char **arguments) {
  if (count != 4) die("etcd_put", "PORT CLIENTS SECONDS");
  port = atoi(arguments[1]);
  run_clients(atoi(arguments[2]), atof(arguments[3]), open_socket, put);
  return 0;
}
