/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka, after our own headers: its fail() is a macro. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
