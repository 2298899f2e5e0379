/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Transparent socket impersonation: what tsi.ko in the guest and a3s-box-vsock on the host say to each other.
 *
 * Three kinds of vsock connection, all opened by the guest to CID 2, and one kind opened by the host:
 *
 *   TSI_PORT_CONTROL   SOCK_STREAM, one per guest, opened when the module loads and again whenever it was lost. Both
 *                      sides send fixed-size struct tsi_message. The host always takes what is sent, so it never blocks.
 *   TSI_PORT_STREAM    SOCK_STREAM, one per proxied TCP connection. Carries the application's bytes and nothing else.
 *   TSI_PORT_DATAGRAM  SOCK_SEQPACKET, one per proxied UDP (or ICMP echo) socket. Every message is a struct tsi_address
 *                      (destination when the guest sends, source when the host sends) followed by the payload.
 *   incoming           SOCK_STREAM from the host (CID 2, a port of the host's choice) to the vsock port of a listener that
 *                      the guest announced: one client of a published port.
 *
 * A socket is named by the vsock port of the end that opened it. The guest opens from ports below TSI_PORT_HOST_FIRST,
 * the host from ports at or above it, so that a port alone names one socket. What concerns a connection travels on the
 * control connection *ahead* of the vsock packet that it explains: both directions are one ordered queue, and the guest
 * reads the control connection in that order too, so nothing is ever explained late.
 *
 *   guest: CONNECT(port, remote)    then OP_REQUEST from that port to TSI_PORT_STREAM
 *   host:  CONNECTED(port, local)   then OP_RESPONSE          when the host's connect has succeeded
 *          FAILED(port, error)      then OP_RST               when it has not
 *   host:  INCOMING(port, listener) then OP_REQUEST from that port to the listener's port
 *   guest: DATAGRAM(port, local), DATAGRAM_BOUND(port, local) when the program has chosen the port,
 *                                   then OP_REQUEST from that port to TSI_PORT_DATAGRAM
 *
 * The last packets of a connection are vsock's own: SHUTDOWN for each half, RST. The host sends SHUTDOWN for a half when
 * that half has ended on its socket (never both bits in one packet), and answers the guest's SHUTDOWN of both halves with
 * RST at once, whatever it still has to deliver: the guest's close waits for nothing. Lingering is the exception: after
 * OPTION(port, LINGER) above 0 the RST comes when the peer has acknowledged everything, or at a second SHUTDOWN of both
 * halves, which the guest sends when its program has waited long enough. An RST that the guest did not ask for is to the
 * program what TCP's is: ECONNRESET, or EPIPE after end of file. RESET(port, error) may precede it where the error is another.
 *
 * All integers little-endian, but for tsi_address.port, which is in network order as in struct sockaddr. Error numbers are
 * Linux's generic ones (asm-generic/errno.h), positive. Reserved fields are zero when sent and ignored when read.
 */
#ifndef TSI_PROTOCOL_H
#define TSI_PROTOCOL_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
typedef uint8_t __u8;
typedef uint32_t __u32;
typedef uint16_t __le16;
typedef uint16_t __be16;
typedef uint32_t __le32;
#endif

#define TSI_VERSION 1u
#define TSI_HOST_CID 2u

enum tsi_port {
	TSI_PORT_CONTROL = 1024,
	TSI_PORT_STREAM = 1025,
	TSI_PORT_DATAGRAM = 1026,
};

#define TSI_PORT_GUEST_FIRST 0x00010000u /* the guest's sockets; the ports below are the agent's and well-known ones */
#define TSI_PORT_HOST_FIRST 0x80000000u	 /* the host's */

/* Addresses in the guest that mean something to the host. */
#define TSI_ADDRESS_GUEST 0xc0000008u	 /* 192.0.0.8, on the guest's lo */
#define TSI_ADDRESS_RESOLVER 0xc0000009u /* 192.0.0.9: port 53, UDP and TCP, is answered by the device */
#define TSI_ADDRESS_HOST 0xc000000au	 /* 192.0.0.10: the host's loopback, where that was asked for */

/**
 * struct tsi_address - an internet endpoint
 * @family:	TSI_FAMILY_NONE (nothing known), _V4 or _V6
 * @port:	network order
 * @scope:	IPv6 scope id, in the guest's numbering; 0 for IPv4
 * @bytes:	IPv4 in the first four, network order; or IPv6
 */
enum tsi_family { TSI_FAMILY_NONE = 0, TSI_FAMILY_V4 = 2, TSI_FAMILY_V6 = 10 };

struct tsi_address {
	__le16 family;
	__be16 port;
	__le32 scope;
	__u8 bytes[16];
};

enum tsi_message_type {
	/* Both: first message of each side. port: TSI_VERSION; value: TSI_HELLO_* bits. The lower version counts. */
	TSI_HELLO = 1,

	/* Guest to host. */
	TSI_CONNECT = 2,    /* port, remote; local if the socket was bound; value: TSI_STREAM_* bits wanted from the start */
	TSI_LISTEN = 3,	    /* port: vsock port of the listener; local: what the program is listening on; value: TSI_LISTEN_* */
	TSI_UNLISTEN = 4,   /* port */
	TSI_DATAGRAM = 5,   /* port; local if bound; value: protocol, 17 (UDP) or 1/58 (ICMP echo) */
	TSI_PEER = 6,	    /* port of a datagram socket; remote: it was connected there, or NONE: disconnected. Answered by CONNECTED or FAILED */
	TSI_OPTION = 7,	    /* port; error: enum tsi_option; value */
	TSI_DATAGRAM_BOUND = 8, /* port; local: the UDP socket is bound here and takes published datagrams; value: TSI_BOUND_* */

	/* Host to guest. */
	TSI_CONNECTED = 32, /* port; local: the host socket's address; remote: its peer */
	TSI_FAILED = 33,    /* port, error */
	TSI_INCOMING = 34,  /* port: the host's; value: vsock port of the listener; local and remote as the host's accept gave them */
	TSI_RESET = 35,	    /* port, error: why the RST that follows */
	/*
	 * port, error; remote: the destination of the datagram, an echo request's with its sequence number as the port.
	 * Where an ICMP message said so: local, its sender, with the MTU that it names as the port; value: TSI_ERROR_*.
	 */
	TSI_DATAGRAM_ERROR = 36,
};

/* Type and code of an ICMP or ICMPv6 message in a value. */
#define TSI_ERROR_VALUE(type, code) ((__u32)(type) | (__u32)(code) << 8)
#define TSI_ERROR_TYPE(value) ((__u8)(value))
#define TSI_ERROR_CODE(value) ((__u8)((value) >> 8))

enum tsi_hello_bits {
	TSI_HELLO_V4 = 1 << 0, /* host: there is an IPv4 address other than loopback */
	TSI_HELLO_V6 = 1 << 1, /* host: likewise IPv6 */
};

enum tsi_stream_bits {
	TSI_STREAM_KEEPALIVE = 1 << 1,
};

enum tsi_listen_bits {
	TSI_LISTEN_V6ONLY = 1 << 0,
};

enum tsi_bound_bits {
	TSI_BOUND_V6ONLY = 1 << 0,
	TSI_BOUND_REUSEPORT = 1 << 1, /* shares the port's clients with others that say so */
};

/* Socket options that matter on the host's socket; those from 16 on for datagrams too. */
enum tsi_option {
	TSI_OPTION_KEEPALIVE = 2, /* value 0, 1 */
	TSI_OPTION_KEEPIDLE = 3,  /* seconds */
	TSI_OPTION_KEEPINTVL = 4, /* seconds */
	TSI_OPTION_KEEPCNT = 5,
	TSI_OPTION_LINGER = 6,	  /* 0xffffffff: off; 0: the close is a reset; else it waits for the peer: "lingering" above */
	TSI_OPTION_USER_TIMEOUT = 7, /* milliseconds */
	TSI_OPTION_TTL = 16,	     /* IPv4's, 1 to 255 */
	TSI_OPTION_HOPS = 17,	     /* IPv6's, 0 to 255 */
	TSI_OPTION_TOS = 18,	     /* 0 to 255 */
	TSI_OPTION_TCLASS = 19,	     /* 0 to 255 */
	TSI_OPTION_BROADCAST = 20,   /* 0, 1; datagrams */
};

/**
 * struct tsi_message - the one shape of everything on the control connection, 64 bytes
 * @type:	enum tsi_message_type; unknown ones are ignored
 * @port:	vsock port that names the socket
 * @error:	errno, or enum tsi_option
 * @value:	as the type says
 */
struct tsi_message {
	__le16 type;
	__le16 reserved;
	__le32 port;
	__le32 error;
	__le32 value;
	struct tsi_address local;
	struct tsi_address remote;
};

/* Largest message on a datagram connection: address and the largest UDP payload. */
#define TSI_DATAGRAM_MAX (sizeof(struct tsi_address) + 65507u)

_Static_assert(sizeof(struct tsi_address) == 24, "part of the protocol");
_Static_assert(sizeof(struct tsi_message) == 64, "part of the protocol");

#endif
