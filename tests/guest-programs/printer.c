/* SPDX-License-Identifier: Apache-2.0 */
/* usage: printer BYTES [LINE]: numbered lines of LINE (64) bytes, newline included, BYTES in all; then "done" on stderr. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	long total = argc > 1 ? atol(argv[1]) : 0;
	int line = argc > 2 ? atoi(argv[2]) : 64;

	for (long i = 0; i * line < total; i++)
		printf("%0*ld\n", line - 1, i);
	if (fflush(stdout))
		return 1;
	fputs("done\n", stderr);
	return 0;
}
