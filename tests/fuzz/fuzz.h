/* SPDX-License-Identifier: Apache-2.0 */
/* What every fuzzer defines: takes any input, returns 0. Called again and again in one process, so it frees what it made. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
