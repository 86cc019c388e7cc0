/* SPDX-License-Identifier: Apache-2.0 */
/* A program that was started by one with a filter: ends with 0 if a page cannot be put into a pipe, and with 1 if it
 * can. The headers of the client library are C11 without extensions. */
#include <errno.h>
#include <fcntl.h>
#include <sluice/protocol.h>
#include <sluice/sluice_client.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(struct sluice_acquire) == 1168, "the protocol");
_Static_assert(sizeof(struct sluice_lease_message) == 2088, "the protocol");

int main(void) {
  static char page[4096];
  const struct iovec data = {page, sizeof page};
  int ends[2];
  if (pipe(ends) != 0) return 2;
  if (vmsplice(ends[1], &data, 1, 0) >= 0) return 1;
  return errno == EPERM ? 0 : 3;
}
