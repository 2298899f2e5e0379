/* SPDX-License-Identifier: Apache-2.0 */
/* What clients of the control socket ask for (control.h, 2). */
#include <signal.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/wire.h"
#include "life.h"

static struct life *life_of(struct clients *clients)
{
	return container_of(clients, struct life, clients);
}

static bool is_signal(int64_t signal)
{
	return signal > 0 && signal < 65;
}

static void on_status(struct life *life, struct client *client, const json_t *request)
{
	client_reply(client, json_pack("{s:b,s:o}", "ok", 1, "state", box_state_to_json(&life->state)));
}

static void on_stats(struct life *life, struct client *client, const json_t *request)
{
	if (!life_is_running(life) || vsock_process_ask_stats(&life->vsock) < 0)
		client_reply_error(client, "the box is not running", 1);
	else
		client_wait_stats(client);
}

static void on_signal(struct life *life, struct client *client, const json_t *request)
{
	int64_t signal = json_int(request, "signal", 0);

	if (!is_signal(signal)) {
		client_reply_error(client, "no such signal", 125);
	} else if (!life_is_running(life)) {
		client_reply_error(client, "the box is not running", 1);
	} else {
		life_signal(life, (int)signal);
		client_reply(client, json_pack("{s:b}", "ok", 1));
	}
}

static void on_stop(struct life *life, struct client *client, const json_t *request)
{
	int64_t signal = json_int(request, "signal", SIGTERM), timeout = json_int(request, "timeout", BOX_STOP_TIMEOUT);

	if (!is_signal(signal) || timeout > 1 << 20) {
		client_reply_error(client, "no such signal or time", 125);
		return;
	}
	client_wait(client);
	life_stop(life, (int)signal, timeout < 0 ? -1 : (int)timeout);
}

static void on_kill(struct life *life, struct client *client, const json_t *request)
{
	client_wait(client);
	life_kill(life);
}

static void on_wait(struct life *life, struct client *client, const json_t *request)
{
	client_wait(client);
}

static const struct {
	const char *op;
	void (*fn)(struct life *life, struct client *client, const json_t *request);
} ops[] = {
	{ "status", on_status }, { "stats", on_stats }, { "signal", on_signal },
	{ "stop", on_stop },	 { "kill", on_kill },	{ "wait", on_wait },
};

static void on_request(struct clients *clients, struct client *client, const char *op, const json_t *request)
{
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (strcmp(op, ops[i].op) == 0) {
			ops[i].fn(life_of(clients), client, request);
			return;
		}
	}
	client_reply_error(client, "the monitor knows no such request", 125);
}

static void on_input(struct clients *clients, enum frame_type type, const uint8_t *payload, size_t size)
{
	struct life *life = life_of(clients);
	struct wire w = wire_reader(payload, size);

	if (type == FRAME_SIGNAL && size == 4 && life_is_running(life)) {
		uint32_t signal = wire_le32(&w);

		if (is_signal(signal))
			life_signal(life, (int)signal);
		return;
	}
	if (type == FRAME_RESIZE && size == 4 && life->phase < LIFE_STARTING) {
		life->columns = wire_le16(&w);
		life->rows = wire_le16(&w);
		return;
	}
	streams_send(&life->streams, type, payload, size);
	if (streams_is_full(&life->streams))
		clients_hold_input(clients, true);
}

/* As docker: the input of a foreground run ends with it, that of a box left in the background stays open. */
static void on_input_lost(struct clients *clients)
{
	struct life *life = life_of(clients);

	if (!life->config.detached && !life->config.tty)
		streams_send(&life->streams, FRAME_STDIN, NULL, 0);
}

static void on_hold(struct clients *clients, bool hold)
{
	streams_hold(&life_of(clients)->streams, hold);
}

static void on_empty(struct clients *clients)
{
	loop_quit(life_of(clients)->loop, 0);
}

const struct clients_handlers life_clients_handlers = {
	.request = on_request,
	.input = on_input,
	.input_lost = on_input_lost,
	.hold = on_hold,
	.empty = on_empty,
};
