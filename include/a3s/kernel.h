/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters of the guest's kernel: they belong to the kernel of the bundle, whoever starts it.
 *
 *	panic=-1		a panic restarts at once, which QEMU's -no-reboot turns into an end
 *	cryptomgr.notests	the kernel's own algorithms are not tested at every boot: 0.17 s without KVM
 *	rcupdate.rcu_expedited=1 grace periods do not wait for the next ticks: loading modules, replacing socket families and
 *				(un)mounting wait for some, 40 ms in all while a box is set up without KVM
 *	init_on_alloc=0		memory that the kernel allocates for itself is not zeroed first, which Debian's does by default: every
 *				vsock packet would be written twice. What it protects from, stale data of another tenant, is the
 *				machine's boundary here
 *
 * Without KVM, besides:
 *
 *	tsc=reliable		QEMU derives the counters of all processors from one clock; otherwise every reading of the time
 *				leaves the guest for the HPET
 *	hpet=disable		with those counters it is not needed, and setting it up costs 0.1 s
 *	no_timer_check		on a busy host the check for working timer interrupts fails now and then, in the end with a panic
 *	mitigations=off		an emulated processor does not speculate as real ones do; indirect calls and system calls cost
 *				a third less
 */
#pragma once

#define KERNEL_PARAMETERS "console=ttyS0 quiet panic=-1 cryptomgr.notests rcupdate.rcu_expedited=1 init_on_alloc=0"
#define KERNEL_PARAMETERS_EMULATED "tsc=reliable hpet=disable no_timer_check mitigations=off"

/* Of init (src/guest/init.c): say KERNEL_INIT_UP on the console and power off at once; print when each step was done. */
#define KERNEL_INIT_POWEROFF "a3s.poweroff"
#define KERNEL_INIT_UP "a3s-init: up"
#define KERNEL_INIT_TIMES "a3s.times"
