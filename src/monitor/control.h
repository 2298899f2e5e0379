/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the command line talks to a box's monitor.
 *
 * 1. Starting. The command line makes a socketpair (SOCK_STREAM, frames), starts `a3s-box-monitor --box ID --start-fd N`
 *    and then:
 *	monitor -> FRAME_REPLY {"event":"listening"}    its control socket is there: a foreground run attaches now
 *	cli     -> FRAME_REQUEST {"op":"go"}
 *	monitor -> FRAME_REPLY {"event":"started"} or {"event":"failed","error":S,"code":N}
 *	cli     -> FRAME_REQUEST {"op":"commit"}         the caller knows: from now on the box lives without the command line
 *    When the socket closes before "commit", the monitor stops the box; with {"op":"go","remove":true} it removes the record too.
 *
 * 2. Running. RUNTIME/<short id>/monitor.sock, frames, one request each:
 *	{"op":"status"}                      -> {"ok":true,"state":{...as state.json...}}
 *	{"op":"stats"}                       -> {"ok":true,"stats":{...}} as a3s-box-vsock counts them (src/vsock/control.h)
 *	{"op":"signal","signal":N}           -> {"ok":true}  to the main process
 *	{"op":"stop","signal":N,"timeout":S} -> {"ok":true,"exit_code":N} when the box is down (signal, S seconds, KILL; S < 0: no limit)
 *	{"op":"kill"}                        -> the same at once
 *	{"op":"wait"}                        -> {"ok":true,"exit_code":N} when the box is down
 *	{"op":"attach","stdin":bool}         -> {"ok":true}; then FRAME_STDOUT/STDERR to the client, FRAME_STDIN/RESIZE/SIGNAL from
 *	                                        it, FRAME_EXIT when the main process ends. Several clients may be attached; a slow one holds
 *	                                        up neither the log nor the others: it is dropped with FRAME_DETACH after 1 MiB of backlog
 *	                                        unless it alone asked "wait":true, which makes the box wait for it (foreground run).
 */
#pragma once

#define CONTROL_SOCKET "monitor.sock"
#define AGENT_SOCKET "agent.sock"
