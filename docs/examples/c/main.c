/* SPDX-License-Identifier: Apache-2.0 */
/* A VM comes, reboots and goes; another customer's VM gets its memory, clean. The engine is the CPU.
 *
 * cc main.c $(pkg-config --cflags --libs sluice) */
#include <poll.h>
#include <sluice/sluice.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct granted {
  int done;
  int code;
  unsigned char* base;
  uint64_t length;
  int recycled;
};

static void on_grant(void* context, uint64_t claim, int code, const sluice_range* ranges, size_t count) {
  struct granted* granted = context;
  granted->done = 1;
  granted->code = code;
  if (count > 0) {
    granted->base = ranges[0].base;
    granted->length = ranges[0].length;
    granted->recycled = ranges[0].recycled;
  }
  printf("claim %llu: %s, %zu ranges\n", (unsigned long long)claim, sluice_error_text(code), count);
}

static void must(int code) {
  if (code == SLUICE_OK) return;
  fprintf(stderr, "%s: %s\n", sluice_error_text(code), sluice_last_message());
  exit(1);
}

/* Sleeps until the engine has something to say, and lets the manager hear it. */
static void wait_for(sluice_manager* manager, const struct granted* granted) {
  struct pollfd engine = {.fd = sluice_manager_fd(manager), .events = POLLIN};
  while (!granted->done) {
    sluice_manager_poll(manager);
    if (!granted->done) poll(&engine, 1, 1);
  }
  must(granted->code);
}

int main(void) {
  sluice_memory* memory = NULL;
  sluice_engine* engine = NULL;
  sluice_manager* manager = NULL;
  must(sluice_memory_create(8 << 20, 1, SLUICE_PAGES_SMALL, &memory));
  must(sluice_engine_open("cpu", memory, &engine));
  must(sluice_manager_create(memory, engine, NULL, NULL, &manager));

  sluice_vm first;
  sluice_vm_init(&first);
  first.vm = 1;
  first.customer = 1;
  must(sluice_vm_create(manager, &first));
  struct granted mine = {0};
  must(sluice_vm_allocate(manager, 1, 8 << 20, on_grant, &mine, NULL));
  wait_for(manager, &mine);
  memset(mine.base, 0x5A, mine.length);

  must(sluice_vm_begin_reboot(manager, 1));
  struct granted again = {0};
  must(sluice_vm_finish_reboot(manager, 1, 8 << 20, on_grant, &again, NULL));
  wait_for(manager, &again);
  printf("after the reboot: %s, byte 0 is 0x%02X\n", again.recycled ? "the same memory" : "clean memory",
         again.base[0]);
  must(sluice_vm_terminate(manager, 1));

  sluice_vm second;
  sluice_vm_init(&second);
  second.vm = 2;
  second.customer = 2;
  must(sluice_vm_create(manager, &second));
  struct granted theirs = {0};
  must(sluice_vm_allocate(manager, 2, 8 << 20, on_grant, &theirs, NULL));
  wait_for(manager, &theirs);
  uint64_t dirty = 0;
  for (uint64_t at = 0; at < theirs.length; ++at) dirty += theirs.base[at] != 0;
  printf("another customer: %llu bytes that are not zero\n", (unsigned long long)dirty);

  sluice_manager_destroy(manager);
  sluice_engine_destroy(engine);
  sluice_memory_destroy(memory);
  return dirty == 0 && again.recycled ? 0 : 1;
}
