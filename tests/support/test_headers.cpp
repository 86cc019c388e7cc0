// SPDX-License-Identifier: Apache-2.0
// Only for the headers that tests have in common.
