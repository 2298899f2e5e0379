// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
#include "host.h"
#include "test.h"

const struct test tests_torture[] = {
	{},
};
