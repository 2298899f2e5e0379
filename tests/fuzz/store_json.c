/* SPDX-License-Identifier: Apache-2.0 */
/* A box's record as another program, or a failing disk, may leave it. What is accepted must survive being written again. */
#include <stdlib.h>

#include "base/json.h"
#include "base/own.h"
#include "fuzz.h"
#include "store/box.h"

static void again_config(const json_t *json)
{
	struct box_config config, again;
	struct failure f = { 0 };
	_cleanup_json_ json_t *written = NULL;

	if (box_config_from_json(json, &config, &f) < 0)
		return;
	written = box_config_to_json(&config);
	if (box_config_from_json(written, &again, &f) < 0)
		abort();
	box_config_deinit(&again);
	box_config_deinit(&config);
}

static void again_state(const json_t *json)
{
	struct box_state state, again;
	struct failure f = { 0 };
	_cleanup_json_ json_t *written = NULL;

	if (box_state_from_json(json, &state, &f) < 0)
		return;
	written = box_state_to_json(&state);
	if (box_state_from_json(written, &again, &f) < 0)
		abort();
	box_state_deinit(&again);
	box_state_deinit(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ json_t *json = json_loadb((const char *)data, size, 0, NULL);

	if (json) {
		again_config(json);
		again_state(json);
	}
	return 0;
}
