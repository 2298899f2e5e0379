/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which accelerator boxes run under, and why.
 *
 * /dev/kvm may open, report a version and make a VM, and still not run our kernel. So "usable" means: it booted our guest
 * once. The probe takes at most ACCEL_PROBE_MS; its verdict is kept in $A3S_HOME/guest.json for this boot of the host, this
 * QEMU and this guest bundle. A3S_ACCEL=kvm or tcg overrides it.
 */
#pragma once

#include "base/err.h"
#include "store/home.h"

#define ACCEL_PROBE_MS 5000

enum accel_kind { ACCEL_TCG, ACCEL_KVM };

/**
 * struct accel_verdict - what was decided
 * @reason:	a clause for people: "A3S_ACCEL is set", "/dev/kvm does not exist", "it booted the guest in 0.3 s"
 */
struct accel_verdict {
	enum accel_kind kind;
	char reason[256];
};

/* "kvm", "tcg" */
const char *accel_name(enum accel_kind kind);
/* Blocks while a probe runs, ours or another's: concurrent callers probe once. -1: no QEMU or no guest bundle, says what to do. */
int accel_decide(const struct home *home, struct accel_verdict *ret, struct failure *f);
