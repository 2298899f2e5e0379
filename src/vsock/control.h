/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the monitor talks to a3s-box-vsock: `a3s-box-vsock --control-fd N`, N being one end of a SOCK_SEQPACKET socketpair.
 *
 * Every message is one JSON object of at most VSOCK_CONTROL_MAX bytes, with fds by SCM_RIGHTS (io_send_fds) where said.
 * Requests are answered one by one, in order: {"ok":true,...} or {"ok":false,"error":sentence,"errno":N}. Events come in
 * between and have "event" instead of "ok". The program ends when its end of the socket reads end-of-file. It opens nothing
 * by itself: it is inside its sandbox before it reads the first request.
 *
 * Requests; "configure" comes first, and once:
 *
 * {"op":"configure","network":"tsi"|"none","host_gateway":bool,"cid":3,"ports":0,"limits":{...}}
 *	host_gateway: 192.0.0.10 in the guest is the host's loopback. ports: how many sockets will be published. cid and every
 *	limit may be left out:
 *	"connections":32768    open at a time, all kinds, datagram sockets included; fewer when RLIMIT_NOFILE allows fewer. The
 *	                       guest's connect gets EMFILE beyond them, a client of a published port a reset
 *	"datagrams":8192       of these, sockets for UDP and echo; beyond them sending gets EMFILE
 *	"listeners":4096       that the guest has announced
 *	"queued_bytes":268435456  guest's bytes that host sockets have not taken yet, all connections together
 *	"datagram_idle_ms":60000  after which a silent UDP socket gives up its host socket
 *	"flows":16384          clients of published UDP ports that are remembered; of more the longest silent are forgotten
 *	"flow_idle_ms":180000  after which a silent one is
 * {"op":"device"} + connected vhost-user socket (QEMU's end listens or is the other end of a socketpair)
 *	once at a time; again after "device-gone". The answer comes when the program is ready to serve vhost-user messages,
 *	so it is safe to plug the device after it.
 * {"op":"agent"} + listening AF_UNIX stream socket: the box's agent.sock (include/a3s/agent.h). At any time, replaces an earlier.
 * {"op":"publish","protocol":"tcp"|"udp","address":S,"port":N,"guest_port":N} + bound socket, TCP: already listening
 *	address and port name the entry for "unpublish" and are what the fd is bound to. One message for each address family.
 * {"op":"unpublish","protocol":..,"address":..,"port":N}   clients that are connected stay
 * {"op":"resolver"} + connected socket of the resolver helper (src/resolver/protocol.h); replaces an earlier one
 * {"op":"stats"} -> {"ok":true,"stats":{"connections":N,"connections_total":N,"bytes_in":N,"bytes_out":N,...}}
 *	bytes_in: towards the guest, the agent's conversations included; net_in, net_out, net_connections and
 *	net_connections_total are those of the box's sockets alone. See service.c for the rest.
 * {"op":"ping"}  -> {"ok":true}
 *
 * Events:
 *
 * {"event":"device-started"}   the guest's driver is up: agent connections can be opened from now on (also after a reboot)
 * {"event":"device-gone"}      the vhost-user socket closed; everything that was open in the guest is closed
 * {"event":"resolver-wanted"}  a first DNS query waits and there is no resolver (none yet, or it has gone): please send one.
 *                              Queries are answered SERVFAIL after 5 s without.
 * {"event":"tsi-started"}      the guest's module is up
 */
#pragma once

#define VSOCK_PROGRAM "a3s-box-vsock"
#define VSOCK_CONTROL_MAX 4096u /* bytes of a message, either direction */
#define VSOCK_GUEST_CID 3u	/* default; private to the VM, so the same for all */
