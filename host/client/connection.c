/* SPDX-License-Identifier: Apache-2.0 */
/* The socket: one request goes out, one answer comes in, and no descriptor gets lost. */
#include "connection.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

int sluice_fail(sluice_client* client, const char* format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(client->error, sizeof client->error, format, values);
  va_end(values);
  return -1;
}

int sluice_lose(sluice_client* client, const char* format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(client->lost, sizeof client->lost, format, values);
  va_end(values);
  if (client->fd >= 0) close(client->fd);
  client->fd = -1;
  return sluice_fail(client, "%s", client->lost);
}

sluice_client* sluice_client_adopt(int fd) {
  sluice_client* const client = calloc(1, sizeof *client);
  if (client == NULL) return NULL;
  client->fd = fd;
  client->process = getpid();
  return client;
}

static void open_connection(sluice_client* client, const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const size_t length = strlen(path);
  if (length >= sizeof address.sun_path) {
    sluice_lose(client, "the path of sluiced's socket has %zu bytes: give one of at most %zu", length,
                sizeof address.sun_path - 1);
    return;
  }
  memcpy(address.sun_path, path, length + 1);
  client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (client->fd < 0) {
    sluice_lose(client, "no socket for a connection to sluiced: %s", strerror(errno));
    return;
  }
  int connected = -1;
  do {
    connected = connect(client->fd, (const struct sockaddr*)&address, sizeof address);
  } while (connected != 0 && errno == EINTR);
  if (connected != 0) {
    sluice_lose(client,
                "cannot connect to sluiced at %s: %s; see that it runs, and that SLUICE_SOCKET names its socket", path,
                strerror(errno));
  }
}

sluice_client* sluice_client_connect(const char* path) {
  if (path == NULL) path = getenv("SLUICE_SOCKET");
  if (path == NULL || *path == 0) path = SLUICE_DEFAULT_SOCKET;
  sluice_client* const client = sluice_client_adopt(-1);
  if (client != NULL) open_connection(client, path);
  return client;
}

void sluice_client_close(sluice_client* client) {
  if (client == NULL) return;
  if (client->fd >= 0) close(client->fd);
  free(client);
}

void sluice_close_received(struct sluice_received* received) {
  for (unsigned at = 0; at < received->fd_count; ++at) close(received->fds[at]);
  received->fd_count = 0;
}

/* A pidfd of this process goes with a request for a lease: kernels before 6.5 do not let sluiced ask for one. Those
 * before 5.3 have none, and it goes without. */
static int send_request(sluice_client* client, const struct sluice_message* request) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  memset(&control, 0, sizeof control);
  struct iovec data = {.iov_base = (void*)request, .iov_len = request->length};
  struct msghdr packet = {.msg_iov = &data, .msg_iovlen = 1};
  int pidfd = -1;
#ifdef SYS_pidfd_open
  if (request->type == SLUICE_ACQUIRE) pidfd = (int)syscall(SYS_pidfd_open, client->process, 0);
#endif
  if (pidfd >= 0) {
    packet.msg_control = control.bytes;
    packet.msg_controllen = sizeof control.bytes;
    struct cmsghdr* const rights = CMSG_FIRSTHDR(&packet);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof pidfd);
    memcpy(CMSG_DATA(rights), &pidfd, sizeof pidfd);
  }
  ssize_t sent = -1;
  do {
    sent = sendmsg(client->fd, &packet, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  const int error = errno;
  if (pidfd >= 0) close(pidfd);
  if (sent == (ssize_t)request->length) return 0;
  if (sent >= 0) return sluice_lose(client, "the socket of sluiced took a part of a request: it is no SOCK_SEQPACKET");
  return sluice_lose(client, "nothing can be sent to sluiced: %s; see that it runs, and connect again",
                     strerror(error));
}

/* Whatever does not fit into `fds` is closed. */
static void take_descriptors(struct msghdr* packet, struct sluice_received* received) {
  for (struct cmsghdr* part = CMSG_FIRSTHDR(packet); part != NULL; part = CMSG_NXTHDR(packet, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t at = 0; at < count; ++at) {
      int fd = -1;
      memcpy(&fd, CMSG_DATA(part) + at * sizeof fd, sizeof fd);
      if (received->fd_count < SLUICE_MOST_DESCRIPTORS) {
        received->fds[received->fd_count++] = fd;
      } else {
        received->fds_lost = 1;
        close(fd);
      }
    }
  }
}

static int receive(sluice_client* client, struct sluice_received* received) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(SLUICE_MOST_DESCRIPTORS * sizeof(int))];
  } control;
  memset(received, 0, sizeof *received);
  struct iovec data = {.iov_base = &received->reply, .iov_len = sizeof received->reply};
  struct msghdr packet = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  ssize_t got = -1;
  do {
    got = recvmsg(client->fd, &packet, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return sluice_lose(client, "nothing can be received from sluiced: %s; connect again", strerror(errno));
  take_descriptors(&packet, received);
  received->length = (size_t)got;
  received->too_long = (packet.msg_flags & MSG_TRUNC) != 0;
  if ((packet.msg_flags & MSG_CTRUNC) != 0) received->fds_lost = 1;
  if (got > 0) return 0;
  sluice_close_received(received);
  return sluice_lose(client, "sluiced has closed the connection: see its log, and connect again");
}

/* Refused texts are shown on terminals. */
static int refuse(sluice_client* client, const struct sluice_refused* refused, const char* to) {
  char text[sizeof refused->text];
  memcpy(text, refused->text, sizeof text);
  for (char* at = text; *at != 0; ++at) {
    if ((unsigned char)*at < 0x20 || *at == 0x7f) *at = '?';
  }
  client->reason = refused->reason <= 0x7fffffff ? (int)refused->reason : 0x7fffffff;
  if (refused->reason == SLUICE_REFUSED_BAD_MESSAGE) return sluice_lose(client, "sluiced refuses to %s: %s", to, text);
  return sluice_fail(client, "sluiced refuses to %s: %s", to, text);
}

int sluice_transact(sluice_client* client, struct sluice_message* request, uint16_t type, size_t length,
                    struct sluice_expected expected, struct sluice_received* received) {
  if (client->fd < 0) return sluice_fail(client, "there is no connection to sluiced: %s", client->lost);
  const pid_t process = getpid();
  if (process != client->process) {
    return sluice_fail(
        client,
        "process %ld made this connection, and leases over it would be bound to it: connect anew in process %ld",
        (long)client->process, (long)process);
  }
  request->magic = SLUICE_PROTOCOL_MAGIC;
  request->version = SLUICE_PROTOCOL_VERSION;
  request->type = type;
  request->length = (uint32_t)length;
  request->serial = ++client->serial;
  if (send_request(client, request) != 0 || receive(client, received) != 0) return -1;
  if (sluice_check_reply(client, received, request->serial, expected) != 0) {
    sluice_close_received(received);
    return -1;
  }
  if (received->reply.message.type == SLUICE_REFUSED) return refuse(client, &received->reply.refused, expected.to);
  return 0;
}
