/* SPDX-License-Identifier: Apache-2.0 */
#include "store/names.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/own.h"

static const char *const adjectives[] = {
	"amber", "ample",  "bold",  "brave", "bright", "brisk",	 "calm",  "candid", "clear", "clever", "cosy",	"crisp", "curious",
	"deft",	 "eager",  "early", "easy",  "fair",   "fleet",	 "fresh", "gentle", "glad",  "golden", "grand", "handy", "honest",
	"jolly", "keen",   "kind",  "light", "lively", "lucid",	 "lucky", "mellow", "merry", "mild",   "neat",	"nimble", "noble",
	"plain", "polite", "quick", "quiet", "ready",  "serene", "sharp", "silent", "smart", "snug",   "solid", "spry",	 "steady",
	"sunny", "swift",  "tidy",  "true",  "vivid",  "warm",	 "wise",  "witty",
};
static const char *const nouns[] = {
	"acorn",  "alder",  "anchor", "aspen",	"badger", "beacon", "beaver", "birch",	"brook",  "cedar",  "cliff",  "clover",
	"comet",  "condor", "coral",  "crane",	"creek",  "daisy",  "delta",  "dune",	"falcon", "fern",   "finch",  "fjord",
	"glade",  "grove",  "harbor", "hazel",	"heron",  "island", "ivy",    "juniper", "kestrel", "lagoon", "lark",	"lotus",
	"maple",  "marten", "meadow", "mesa",	"moss",	  "otter",  "owl",    "pebble", "pine",	  "plover", "poplar", "quartz",
	"raven",  "reef",   "ridge",  "robin",	"sparrow", "spruce", "summit", "swan",	"thicket", "tundra", "willow", "wren",
};

void names_generate(unsigned attempt, char *ret, size_t size)
{
	uint32_t random = attempt * 2654435761u;

	if (getrandom(&random, sizeof(random), 0) < 0)
		random += (uint32_t)getpid();
	snprintf(ret, size, "%s_%s", adjectives[random % ARRAY_SIZE(adjectives)], nouns[(random >> 16) % ARRAY_SIZE(nouns)]);
	if (attempt >= 20) {
		size_t used = 0;

		while (ret[used])
			used++;
		snprintf(ret + used, size - used, "%u", attempt);
	}
}
