/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka and what it wants included first. Its macro `fail` gives way to ours (base/err.h). */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#undef fail
