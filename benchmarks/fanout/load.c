/* The load generator of the fan-out benchmark: subscribers and one publisher on WebSockets, one thread.
 *
 *   load HOST PORT PATH SUBSCRIBERS PUBLISH_PREFIX PUBLISH_SUFFIX READY FRAME...
 *
 * Opens SUBSCRIBERS + 1 connections, sends each FRAME as a text message on every one of them, and waits until each has
 * seen READY. The last connection is the publisher; a FRAME that begins with 's' goes to the subscribers only, one with
 * 'p' to the publisher only, any other first letter to all. Then it obeys lines on stdin:
 *
 *   run WINDOW MESSAGES   publish MESSAGES, with at most WINDOW of them under way: a message is under way until every
 *                         subscriber has it. Prints "done SECONDS" after the last subscriber has the last message.
 *
 * The payload is {"n":NUMBER,...}. Subscribers look for "n": in the stream, whatever frames are around it, and check
 * that the numbers have no hole and no repetition; a violation ends the program. It polls while it runs, because a
 * reader that sleeps makes the server on the same machine pay for waking it up.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NEEDLE "\"n\":"
#define PAYLOAD_BYTES 200
#define DEADLINE 120.0

struct connection {
  int fd;
  long next;         /* number of the next message */
  size_t matched;    /* characters of NEEDLE seen */
  int in_number;
  long number;
  char tail[512];    /* end of what came before, for READY */
  size_t tail_length;
  char *out;         /* not yet taken by the socket */
  size_t out_length, out_capacity;
};

static char chunk[1 << 20];

static void die(const char *what) {
  fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void flush(struct connection *c) {
  size_t sent = 0;
  while (sent < c->out_length) {
    ssize_t n = send(c->fd, c->out + sent, c->out_length - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (n < 0) die("send");
    sent += n;
  }
  memmove(c->out, c->out + sent, c->out_length - sent);
  c->out_length -= sent;
}

static void queue(struct connection *c, const char *text, size_t length) {
  if (c->out_length + length + 14 > c->out_capacity) {
    c->out_capacity = 2 * (c->out_length + length + 14);
    c->out = realloc(c->out, c->out_capacity);
    if (!c->out) die("realloc");
  }
  unsigned char *to = (unsigned char *)c->out + c->out_length, *start = to;
  *to++ = 0x81;
  if (length < 126) {
    *to++ = 0x80 | length;
  } else {
    *to++ = 0x80 | 126;
    *to++ = length >> 8;
    *to++ = length & 255;
  }
  memset(to, 0, 4); /* masked, with zeros: the server unmasks all the same */
  to += 4;
  memcpy(to, text, length);
  c->out_length += to + length - start;
}

static void scan(struct connection *c, const char *data, size_t length) {
  for (size_t i = 0; i < length; i++) {
    if (c->in_number) {
      if (data[i] >= '0' && data[i] <= '9') {
        c->number = c->number * 10 + (data[i] - '0');
        continue;
      }
      c->in_number = 0;
      if (c->number != c->next) {
        fprintf(stderr, "load: message %ld came instead of %ld\n", c->number, c->next);
        exit(1);
      }
      c->next++;
    }
    if (c->matched == 0) { /* hop to the next candidate */
      const char *found = memchr(data + i, '"', length - i);
      if (!found) return;
      i = found - data;
      c->matched = 1;
    } else if (data[i] == NEEDLE[c->matched]) {
      if (++c->matched == sizeof(NEEDLE) - 1) {
        c->matched = 0;
        c->in_number = 1;
        c->number = 0;
      }
    } else {
      c->matched = data[i] == '"';
    }
  }
}

static ssize_t receive(struct connection *c) {
  errno = 0;
  ssize_t n = recv(c->fd, chunk, sizeof chunk, MSG_DONTWAIT);
  if (n == 0) die("the server closed a connection");
  if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) die("recv");
  return n;
}

static void wait_for(struct connection *c, const char *needle) {
  double limit = now() + DEADLINE;
  for (;;) {
    if (memmem(c->tail, c->tail_length, needle, strlen(needle))) {
      c->tail_length = 0;
      return;
    }
    flush(c);
    ssize_t n = receive(c);
    if (n > 0) {
      if ((size_t)n > sizeof c->tail) n = sizeof c->tail;
      if (c->tail_length + n > sizeof c->tail) {
        size_t drop = c->tail_length + n - sizeof c->tail;
        memmove(c->tail, c->tail + drop, c->tail_length - drop);
        c->tail_length -= drop;
      }
      memcpy(c->tail + c->tail_length, chunk, n);
      c->tail_length += n;
    } else {
      struct timespec pause = {0, 20000};
      nanosleep(&pause, NULL);
    }
    if (now() > limit) {
      fprintf(stderr, "load: no %s in: %.*s\n", needle, (int)c->tail_length, c->tail);
      exit(1);
    }
  }
}

static void open_connection(struct connection *c, const char *host, int port, const char *path) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  int one = 1;
  inet_pton(AF_INET, host, &address.sin_addr);
  memset(c, 0, sizeof *c);
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  char request[512];
  int length = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                        path, host, port);
  if (send(c->fd, request, length, MSG_NOSIGNAL) != length) die("send");
  wait_for(c, "\r\n\r\n");
}

static void run(struct connection *all, int subscribers, int poll, long window, long messages, const char *prefix,
                const char *suffix, long *published) {
  struct connection *publisher = &all[subscribers];
  static struct epoll_event events[4096];
  static char message[4096];
  char filler[PAYLOAD_BYTES + 1];
  memset(filler, 'x', PAYLOAD_BYTES);
  filler[PAYLOAD_BYTES] = 0;
  long first = *published, behind = subscribers, oldest = first;
  double start = now(), limit = start + DEADLINE;
  int unpolled = 0;
  /* Subscribers that do not have message `oldest` yet: when it reaches zero, the next one is the oldest. */
  while (oldest < first + messages) {
    while (*published < first + messages && *published < oldest + window && publisher->out_length < sizeof chunk) {
      char number[32];
      int digits = snprintf(number, sizeof number, "%ld", *published);
      int length = snprintf(message, sizeof message, "%s{\"n\":%s,\"text\":\"%.*s\"}%s", prefix, number,
                            PAYLOAD_BYTES - 17 - digits, filler, suffix);
      queue(publisher, message, length);
      (*published)++;
    }
    if (publisher->out_length) flush(publisher);
    int ready = epoll_wait(poll, events, 4096, 0);
    for (int e = 0; e < ready; e++) {
      struct connection *c = events[e].data.ptr;
      long before = c->next;
      ssize_t n = receive(c);
      if (n <= 0) continue;
      if (c == publisher) continue;
      scan(c, chunk, n);
      if (before <= oldest && c->next > oldest) behind--;
    }
    while (behind == 0 && oldest < first + messages) {
      oldest++;
      for (int s = 0; s < subscribers; s++) behind += all[s].next <= oldest;
    }
    if (++unpolled % 1024 == 0 && now() > limit) die("messages are missing");
  }
  printf("done %.6f\n", now() - start);
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc < 9) {
    fprintf(stderr, "usage: load HOST PORT PATH SUBSCRIBERS PUBLISH_PREFIX PUBLISH_SUFFIX READY FRAME...\n");
    return 2;
  }
  int subscribers = atoi(argv[4]);
  struct connection *all = calloc(subscribers + 1, sizeof *all);
  int poll = epoll_create1(0);
  for (int s = 0; s <= subscribers; s++) {
    struct connection *c = &all[s];
    open_connection(c, argv[1], atoi(argv[2]), argv[3]);
    for (int f = 8; f < argc; f++) {
      const char *frame = argv[f];
      if (*frame == (s == subscribers ? 's' : 'p')) continue;
      frame++;
      queue(c, frame, strlen(frame));
    }
    wait_for(c, argv[7]);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event) < 0) die("epoll_ctl");
  }
  printf("ready\n");
  fflush(stdout);
  long window, messages, published = 0;
  while (scanf(" run %ld %ld", &window, &messages) == 2)
    run(all, subscribers, poll, window, messages, argv[5], argv[6], &published);
  return 0;
}
