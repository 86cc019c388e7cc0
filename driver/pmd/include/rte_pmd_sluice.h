/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RTE_PMD_SLUICE_H
#define RTE_PMD_SLUICE_H
/* NOLINTBEGIN(readability-identifier-naming,modernize-deprecated-headers): C */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a dma_sluice device has done since it was started. */
struct rte_pmd_sluice_counters {
  uint64_t fills;        /**< that the scrub engine has ended */
  uint64_t filled_bytes; /**< by the scrub engine */
  uint64_t copies;       /**< done by software, on the thread that polls */
  uint64_t copied_bytes;
};

/** For the thread that uses the device. -EINVAL: not a dma_sluice device. */
int rte_pmd_sluice_counters_get(int16_t dev_id, struct rte_pmd_sluice_counters* counters);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-deprecated-headers) */
#endif
