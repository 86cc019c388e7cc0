// SPDX-License-Identifier: Apache-2.0
// Preloaded, it makes a program's DPDK tell our driver, and nobody else, that this is a secondary process.
#include <dlfcn.h>

#include <cstring>

extern "C" int rte_eal_process_type() {
  Dl_info caller{};
  const bool known = ::dladdr(__builtin_return_address(0), &caller) != 0 && caller.dli_fname != nullptr;
  if (known && std::strstr(caller.dli_fname, "rte_dma_sluice") != nullptr) return 1;  // RTE_PROC_SECONDARY
  return reinterpret_cast<int (*)()>(::dlsym(RTLD_NEXT, "rte_eal_process_type"))();
}
