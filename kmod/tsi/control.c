// SPDX-License-Identifier: GPL-2.0
#include "control.h"

#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

#include "datagram.h"
#include "input.h"
#include "listen.h"
#include "main.h"

#define CONTROL_OPEN_TIMEOUT (2 * HZ)
#define CONTROL_CREDIT_TIMEOUT (5 * HZ) /* the host always takes what is sent; one that does not is gone */
#define CONTROL_RETRY_FIRST (HZ / 20)
#define CONTROL_RETRY_LAST HZ

/**
 * struct control_link
 * @have, @partial: a message of which a part has come; vsock's sock lock protects it
 */
struct control_link {
	struct tsi_link link;
	struct tsi_input input;
	size_t have;
	struct tsi_message partial;
};

/**
 * @lock:	one sender at a time; protects @link and the changes of @ready
 * @ready:	the host has our HELLO and every listener
 * @next:	not before then is the next attempt made
 * @deadline:	until then the host may answer this one
 * @retry:	how long to the one after the next
 */
static struct {
	struct mutex lock;
	struct control_link *link;
	bool ready;
	bool stopping;
	unsigned long next;
	unsigned long deadline;
	unsigned long retry;
	struct delayed_work work;
	wait_queue_head_t wait;
} control = {
	.lock = __MUTEX_INITIALIZER(control.lock),
	.wait = __WAIT_QUEUE_HEAD_INITIALIZER(control.wait),
};

static void control_deliver(const struct tsi_message *message)
{
	bool incoming = le16_to_cpu(message->type) == TSI_INCOMING;
	struct tsi_link *link = tsi_link_find(le32_to_cpu(incoming ? message->value : message->port));

	if (!link)
		return;
	if (link->kind->message)
		link->kind->message(link, message);
	tsi_link_put(link);
}

static void control_on_data(struct tsi_link *link, struct sock *vsk)
{
	struct control_link *self = container_of(link, struct control_link, link);
	struct vsock_sock *vsock = vsock_sk(vsk);

	for (;;) {
		size_t n = tsi_input_read_locked(&self->input, vsock, (u8 *)&self->partial + self->have,
						 sizeof(self->partial) - self->have);

		if (!n)
			return;
		self->have += n;
		if (self->have < sizeof(self->partial))
			continue;
		self->have = 0;
		control_deliver(&self->partial);
	}
}

static void control_on_space(struct tsi_link *link, struct sock *vsk)
{
	if (wq_has_sleeper(&control.wait))
		wake_up_all(&control.wait);
}

/* Any end of the control connection is a loss: the host never closes it while it lives. */
static void control_on_change(struct tsi_link *link, struct sock *vsk)
{
	spin_lock(&link->lock);
	if (vsk->sk_err || sock_flag(vsk, SOCK_DONE) || vsock_sk(vsk)->peer_shutdown)
		link->state = TSI_LINK_CLOSED;
	else if (vsk->sk_state == TCP_ESTABLISHED && link->state == TSI_LINK_OPENING)
		link->state = TSI_LINK_OPEN;
	spin_unlock(&link->lock);
	if (!READ_ONCE(control.stopping))
		mod_delayed_work(tsi_workqueue, &control.work, 0);
	wake_up_all(&control.wait);
}

static const struct tsi_link_kind control_kind = {
	.size = sizeof(struct control_link),
	.data = control_on_data,
	.space = control_on_space,
	.changed = control_on_change,
};

static bool control_can_send(struct tsi_link *link)
{
	return tsi_link_state(link) != TSI_LINK_OPEN || tsi_link_writable(link) >= sizeof(struct tsi_message);
}

static int control_send_locked(const struct tsi_message *message)
{
	struct tsi_link *link = &control.link->link;
	struct kvec part = { .iov_base = (void *)message, .iov_len = sizeof(*message) };
	struct msghdr msg = {};

	if (!control_can_send(link))
		wait_event_timeout(control.wait, control_can_send(link), CONTROL_CREDIT_TIMEOUT);
	iov_iter_kvec(&msg.msg_iter, WRITE, &part, 1, part.iov_len);
	if (tsi_link_state(link) == TSI_LINK_OPEN && tsi_link_writable(link) >= sizeof(*message) &&
	    tsi_link_send(link, &msg, sizeof(*message)) == sizeof(*message))
		return 0;

	/* Half a message may be on its way: only a new connection can be understood. */
	spin_lock_bh(&link->lock);
	link->state = TSI_LINK_CLOSED;
	spin_unlock_bh(&link->lock);
	WRITE_ONCE(control.ready, false);
	mod_delayed_work(tsi_workqueue, &control.work, 0);
	return -ENOTCONN;
}

int tsi_control_send(const struct tsi_message *message)
{
	int err = -ENOTCONN;

	mutex_lock(&control.lock);
	if (control.ready)
		err = control_send_locked(message);
	mutex_unlock(&control.lock);
	return err;
}

int tsi_control_option(u32 port, enum tsi_option option, u32 value)
{
	struct tsi_message message = {
		.type = cpu_to_le16(TSI_OPTION),
		.port = cpu_to_le32(port),
		.error = cpu_to_le32(option),
		.value = cpu_to_le32(value),
	};

	return tsi_control_send(&message);
}

int tsi_control_wait(long *timeout)
{
	long left;

	if (READ_ONCE(control.ready))
		return 0;
	left = wait_event_interruptible_timeout(control.wait, READ_ONCE(control.ready), *timeout);
	if (left < 0)
		return sock_intr_errno(*timeout);
	*timeout = left;
	return left ? 0 : -ENOTCONN;
}

static void control_announce_listener(struct tsi_link *link)
{
	struct tsi_message message;

	if (tsi_link_state(link) == TSI_LINK_CLOSED)
		return;
	tsi_listen_describe(link, &message);
	if (tsi_link_state(&control.link->link) == TSI_LINK_OPEN)
		control_send_locked(&message);
}

/* A listener that comes into being meanwhile announces itself: it waits for the lock. */
static void control_greet(void)
{
	struct tsi_message hello = { .type = cpu_to_le16(TSI_HELLO), .port = cpu_to_le32(TSI_VERSION) };

	if (control_send_locked(&hello))
		return;
	tsi_link_for_each(&tsi_listener_kind, control_announce_listener);
	tsi_link_for_each(&tsi_carrier_kind, tsi_datagram_announce);
	WRITE_ONCE(control.ready, tsi_link_state(&control.link->link) == TSI_LINK_OPEN);
	wake_up_all(&control.wait);
}

static void control_drop(void)
{
	struct control_link *old = control.link;

	control.link = NULL;
	WRITE_ONCE(control.ready, false);
	if (!old)
		return;
	tsi_link_close(&old->link);
	tsi_link_for_each(NULL, tsi_link_fail);
}

static int control_open(void)
{
	struct tsi_link *link = tsi_link_new(&control_kind, SOCK_STREAM, NULL);
	int err;

	if (IS_ERR(link))
		return PTR_ERR(link);
	control.link = container_of(link, struct control_link, link);
	err = tsi_link_connect(link, TSI_PORT_CONTROL);
	if (err)
		control_drop();
	return err;
}

/* Milliseconds do not matter here, but a host that refuses is not asked more often than once a second for long. */
static unsigned long control_attempt(void)
{
	control.next = jiffies + control.retry;
	control.retry = min_t(unsigned long, 2 * control.retry, CONTROL_RETRY_LAST);
	if (control_open())
		return control.next;
	control.deadline = jiffies + CONTROL_OPEN_TIMEOUT;
	return control.deadline;
}

/*
 * Greets a host that has come, drops a connection that is lost, opens the next one. Runs when the link changes and when
 * there is something to be done later. Returns when that is.
 */
static unsigned long control_step(void)
{
	enum tsi_link_state state = control.link ? tsi_link_state(&control.link->link) : TSI_LINK_CLOSED;

	if (state == TSI_LINK_OPEN) {
		control.retry = CONTROL_RETRY_FIRST;
		control.next = jiffies;
		if (!control.ready)
			control_greet();
		return 0;
	}
	if (state == TSI_LINK_OPENING && time_before(jiffies, control.deadline))
		return control.deadline;
	control_drop();
	return time_before(jiffies, control.next) ? control.next : control_attempt();
}

static void control_work(struct work_struct *work)
{
	unsigned long when;

	mutex_lock(&control.lock);
	when = control.stopping ? 0 : control_step();
	mutex_unlock(&control.lock);
	if (when)
		queue_delayed_work(tsi_workqueue, &control.work, time_before(jiffies, when) ? when - jiffies : 0);
}

void tsi_control_start(void)
{
	long timeout = CONTROL_OPEN_TIMEOUT;

	INIT_DELAYED_WORK(&control.work, control_work);
	control.retry = CONTROL_RETRY_FIRST;
	control.next = jiffies;
	queue_delayed_work(tsi_workqueue, &control.work, 0);
	/* A program that is started right after the module should find the host. Its absence is not an error. */
	(void)tsi_control_wait(&timeout);
}

void tsi_control_stop(void)
{
	WRITE_ONCE(control.stopping, true);
	cancel_delayed_work_sync(&control.work);
	mutex_lock(&control.lock);
	control_drop();
	mutex_unlock(&control.lock);
	cancel_delayed_work_sync(&control.work);
}
