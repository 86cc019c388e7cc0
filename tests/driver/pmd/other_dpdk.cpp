// SPDX-License-Identifier: Apache-2.0
// Preloaded, it makes a program's DPDK say that it is of another version.
extern "C" unsigned rte_version_year() { return 21; }
