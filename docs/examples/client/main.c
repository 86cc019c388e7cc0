/* SPDX-License-Identifier: Apache-2.0 */
/* A process as a VMM would be: it gets two bricks from sluiced, maps them, writes, and ends. sluiced sees it end, and
 * scrubs.
 *
 * cc main.c $(pkg-config --cflags --libs sluice-client) */
#include <sluice/sluice_client.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static int failed(sluice_client* client, const char* what) {
  fprintf(stderr, "%s: %s\n", what, sluice_client_error(client));
  sluice_client_close(client);
  return 1;
}

int main(void) {
  static const uint64_t lengths[] = {2 << 20, 2 << 20};
  const struct sluice_request request = {
      .vm = {0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00},
      .name = "example",
      .node = -1,
      .brick_count = 2,
      .bricks = lengths,
  };
  sluice_client* client = sluice_client_connect(NULL);
  /* Before the guest runs: its memory can be scrubbed in place afterwards. Without it the kernel replaces it. */
  if (sluice_client_filter(client) != 0) fprintf(stderr, "no filter: %s\n", sluice_client_error(client));
  struct sluice_lease lease;
  if (sluice_client_acquire(client, &request, &lease) != 0) return failed(client, "no memory");
  printf("VM %llu, epoch %llu: %u bricks\n", (unsigned long long)lease.id.vm, (unsigned long long)lease.id.epoch,
         lease.brick_count);
  for (unsigned at = 0; at < lease.brick_count; ++at) {
    const struct sluice_brick* brick = &lease.bricks[at];
    unsigned char* memory = mmap(NULL, brick->length, PROT_READ | PROT_WRITE, MAP_SHARED, brick->fd, 0);
    if (memory == MAP_FAILED) return failed(client, "mmap");
    printf("brick %u: %llu bytes, %s, byte 0 was 0x%02X\n", brick->number, (unsigned long long)brick->length,
           brick->recycled ? "recycled" : "zeros", memory[0]);
    memset(memory, 0x5A, brick->length);
  }
  /* The lease lives as long as this process, whether or not the connection does. */
  sluice_lease_close(&lease);
  sluice_client_close(client);
  return 0;
}
