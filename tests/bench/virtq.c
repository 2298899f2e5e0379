/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the device's side of a ring is at native speed, without any VM: virtq [SECONDS]
 *
 * "ring": driver and device take turns in one thread, 64 chains at a time, so the figure is the cost of both. "threads":
 * each on its own, waiting for the other's eventfd when idle, as they do in life.
 */
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/own.h"
#include "ring_driver.h"
#include "virtio/virtq.h"

#define SIZE 256u
#define BATCH 64u

struct shape {
	const char *name;
	uint64_t features;
	unsigned n_buffers;
	uint32_t bytes;
};

struct bench {
	struct driver_ram ram;
	struct driver_ring driver;
	struct gmem mem;
	struct virtq q;
	struct driver_buffer buffers[4];
	const struct shape *shape;
	atomic_bool stop;
	uint64_t sum;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int bench_init(struct bench *b, const struct shape *shape)
{
	struct gmem_share share = { .gpa = DRIVER_RAM_GPA, .user = DRIVER_RAM_USER, .size = 16u << 20 };
	struct virtq_setup setup = { .size = SIZE, .features = shape->features, .err_fd = -1 };

	*b = (struct bench){ .shape = shape, .q = VIRTQ_NULL };
	if (driver_ram_init(&b->ram, 16u << 20) < 0 || driver_ring_init(&b->driver, &b->ram, SIZE, shape->features) < 0)
		return -1;
	share.fd = b->ram.fd;
	setup.desc = driver_ram_user(&b->ram, b->driver.desc);
	setup.avail = driver_ram_user(&b->ram, b->driver.avail);
	setup.used = driver_ram_user(&b->ram, b->driver.used);
	setup.call_fd = b->driver.call_fd;
	for (unsigned i = 0; i < shape->n_buffers; i++)
		b->buffers[i] = (struct driver_buffer){ driver_ram_alloc(&b->ram, 65536, 4096), shape->bytes / shape->n_buffers };
	return gmem_set(&b->mem, &share, 1) < 0 || virtq_start(&b->q, &b->mem, &setup) < 0 ? -1 : 0;
}

static void bench_deinit(struct bench *b)
{
	virtq_stop(&b->q);
	gmem_deinit(&b->mem);
	driver_ring_deinit(&b->driver);
	driver_ram_deinit(&b->ram);
}

static unsigned fill(struct bench *b, unsigned max)
{
	unsigned n = 0;

	while (n < max && driver_ring_add(&b->driver, b->buffers, b->shape->n_buffers, 0, b) == 0)
		n++;
	return n;
}

static unsigned serve(struct bench *b)
{
	static uint8_t data[65536];
	struct virtq_chain chain;
	struct iovec iov[8];
	unsigned n = 0;

	while (virtq_pop(&b->q, &chain, iov, 8) > 0) {
		b->sum += virtq_chain_read(&chain, 0, data, sizeof(data));
		virtq_push(&b->q, &chain, 0);
		if (++n % BATCH == 0)
			virtq_flush(&b->q);
	}
	virtq_flush(&b->q);
	return n;
}

static double run_ring(struct bench *b, double seconds)
{
	double start = now(), took;
	uint64_t n = 0;

	do {
		for (unsigned i = 0; i < 1000; i++) {
			n += fill(b, BATCH);
			driver_ring_publish(&b->driver);
			serve(b);
			while (driver_ring_take(&b->driver, NULL))
				;
		}
		took = now() - start;
	} while (took < seconds);
	return (double)n / took;
}

static void wait_fd(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t count;

	poll(&p, 1, 100);
	(void)!read(fd, &count, sizeof(count));
}

static void *device_thread(void *context)
{
	struct bench *b = context;

	while (!atomic_load(&b->stop)) {
		virtq_kicks_off(&b->q);
		serve(b);
		if (!virtq_kicks_on(&b->q))
			wait_fd(b->driver.kick_fd);
	}
	return NULL;
}

static double run_threads(struct bench *b, double seconds)
{
	double start = now(), took;
	pthread_t device;
	uint64_t n = 0;

	pthread_create(&device, NULL, device_thread, b);
	do {
		fill(b, SIZE);
		driver_ring_kick(&b->driver);
		if (!driver_ring_arm(&b->driver))
			wait_fd(b->driver.call_fd);
		while (driver_ring_take(&b->driver, NULL))
			n++;
		took = now() - start;
	} while (took < seconds);
	atomic_store(&b->stop, true);
	pthread_join(device, NULL);
	printf("   (%.0f kicks, %.0f interrupts per 1000 chains)", 1000.0 * (double)b->driver.n_kicks / (double)n,
	       1000.0 * (double)b->q.n_calls / (double)n);
	return (double)n / took;
}

static const struct shape shapes[] = {
	{ "1 descriptor, 64 B", 1ull << VIRTIO_RING_F_EVENT_IDX, 1, 64 },
	{ "2 descriptors, 1.5 KiB", 1ull << VIRTIO_RING_F_EVENT_IDX, 2, 1536 },
	{ "indirect of 2, 64 B", 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC, 2, 64 },
	{ "indirect of 2, 64 KiB", 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC, 2, 65536 },
};

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 1;

	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		for (unsigned threads = 0; threads < 2; threads++) {
			struct bench b;
			double rate;

			if (bench_init(&b, &shapes[i]) < 0)
				return 1;
			printf("%-24s %-8s", shapes[i].name, threads ? "threads" : "ring");
			rate = threads ? run_threads(&b, seconds) : run_ring(&b, seconds);
			printf(" %12.0f chains/s %10.2f Gbit/s\n", rate, rate * shapes[i].bytes * 8 / 1e9);
			bench_deinit(&b);
		}
	}
	return 0;
}
