/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's agent: services on vsock ports, whatever the network mode. Conversations are frames (src/base/frame.h),
 * opened by one FRAME_REQUEST and answered by one FRAME_REPLY; what follows depends on "op".
 * On the host the way in is the box's agent.sock: send "CONNECT <port>\n", read "OK <n>\n" (n: the vsock port used), then frames.
 */
#pragma once

enum agent_port {
	AGENT_PORT_CONTROL = 4088, /* health checks, metrics, set-up of the box */
	AGENT_PORT_EXEC = 4089,	   /* run commands, with pipes */
	AGENT_PORT_TERMINAL = 4090, /* the same on a pseudo-terminal */
	AGENT_PORT_ATTESTATION = 4091, /* no such hardware: replies an error that says so */
};

/* What is sent on agent.sock: printf, the port. */
#define AGENT_CONNECT "CONNECT %u\n"
/* The environment's PATH where neither image nor flag gives one; the agent adds it. */
#define AGENT_PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/*
 * 4088, any number of request/reply pairs on one connection:
 *
 * {"op":"ping"}                     -> {"ok":true,"uptime_ms":N,"configured":bool}
 * {"op":"metrics"}                  -> {"ok":true,"cpu_ns":N,"memory_used":bytes,"memory_total":bytes,"pids":N,
 *                                      "disk_used":bytes,"disk_read":bytes,"disk_written":bytes,"load":[..]}
 * {"op":"configure", ...}           -> {"ok":true}; once per boot, before anything is run:
 *	"layers":N           partitions 1 (lowest) .. N of the disk with serial "image" are squashfs layers; with N 0 no image: tests only
 *	"writable":bool      the disk with serial "writable" holds an ext4 for the box's changes
 *	"read_only":bool     root of the box mounted read-only
 *	"tmpfs":{"/path":"options",...}
 *	"hostname":S  "hosts":text  "resolv_conf":text   written to /etc in the box (hosts and resolv.conf replace, as docker)
 *	"network":"tsi"|"none"   "ipv6":bool             tsi: tsi.ko is loaded, lo gets 192.0.0.8/32 and a ULA/128
 *	"time_ns":N  "entropy":hex                       clock and random seed
 * {"op":"files","hosts":text,"resolv_conf":text}  -> rewrite in place
 * {"op":"processes"}                -> {"ok":true,"titles":[...],"processes":[[...],...]} for `top`
 * {"op":"signal","signal":N}        -> {"ok":true}: to the main process. As FRAME_SIGNAL, but never waits behind standard input
 *                                      that main does not read
 * {"op":"shutdown"}                 -> {"ok":true} after the box's file systems are clean; then the VM powers off. What still runs is
 *                                      killed. FRAME_EXIT of main does not wait for the disk: a box that is kept needs this op
 *                                      before its VM is ended, one that is thrown away does not
 *
 * 4089 and 4090:
 *
 * {"op":"main", SPEC}   start the image's process (PID 1 of its own PID and mount namespace), once per boot.
 * {"op":"attach"}       take over the streams of a main process already running (after the connection was lost).
 * {"op":"exec", SPEC}   another process in the same namespaces.
 *   SPEC: "argv":[...]  "env":["K=V",...]  "cwd":S (created for main when missing)  "user":"name|uid[:group|gid]"  "init":bool (main)
 *         "stdin":bool (else /dev/null)  "tty":bool  "columns":N "rows":N (4090)  "privileged":bool
 *   -> {"ok":true,"pid":N}, or {"ok":false,"error":text,"code":126|127|125,"errno":N}
 * Then host -> agent: FRAME_STDIN (empty: end), FRAME_RESIZE, FRAME_SIGNAL; agent -> host: FRAME_STDOUT, FRAME_STDERR
 * (never on a terminal), and FRAME_EXIT last, after both outputs were sent whole. "oom":true does not fit a status: the
 * agent sends FRAME_REPLY {"oom":true} before FRAME_EXIT when the guest's kernel killed it for memory.
 * When the connection of an exec is lost its process gets SIGHUP; main lives on and its output waits in the pipe. The host's
 * closing (or shutting down for writing) a connection is its loss: standard input ends with an empty FRAME_STDIN.
 */
