/* SPDX-License-Identifier: Apache-2.0 */
/* Strings, string vectors, numbers, sizes, times: parsing what people type and printing what people read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NULL-terminated vectors of owned strings. */
char **strv_free(char **v);
size_t strv_length(char *const *v);
/* Append a copy; the vector may move. 0 or -ENOMEM. */
int strv_add(char ***v, const char *s);
char **strv_copy(char *const *v);
bool strv_has(char *const *v, const char *s);

/* Length of the UTF-8 character at s, of which `size` > 0 bytes are there; 0: there is none (over-long forms and surrogates are none). */
size_t text_utf8_length(const uint8_t *s, size_t size);
/* What JSON can hold: what people give is asked this where it comes in. */
bool text_is_utf8(const char *s);
/* Put "?" for each byte that is part of no character. */
void text_mend_utf8(char *s);
bool text_starts(const char *s, const char *prefix);
/* Whole string as a number within [min, max]; -EINVAL, -ERANGE. */
int text_to_int(const char *s, int64_t min, int64_t max, int64_t *ret);
/* "512m", "1g", "64k", "1073741824b": bytes. -EINVAL, -ERANGE. */
int text_to_bytes(const char *s, int64_t *ret);
/* "TERM", "SIGTERM", "sigterm", "15", "RTMIN+3" -> its number; 0: none that we know. */
int text_to_signal(const char *s);
/* Damerau-Levenshtein distance, for "did you mean". */
unsigned text_distance(const char *a, const char *b);
/* 32 random bytes as 64 lower-case hexadecimal characters (ids). 0 or a negative errno. */
int text_random_id(char ret_id[static 65]);

/* RFC 3339 in UTC with nanoseconds, as docker prints. */
#define TEXT_TIME_MAX 40
void text_time(int64_t unix_ns, char ret[static TEXT_TIME_MAX]);
int text_to_time(const char *s, int64_t *ret_unix_ns);
int64_t text_now_ns(void);
/* "5 minutes", "2 hours", "About a minute", as docker's tables say. */
void text_duration(int64_t seconds, char ret[static TEXT_TIME_MAX]);
/* "187MB", "1.23GB": decimal, as docker's tables say. */
void text_size(int64_t bytes, char ret[static 16]);

/* Base64 (RFC 4648, section 4), 4 characters for each 3 bytes begun, no NUL. Returns the end of what was written. */
char *text_put_base64(char *out, const uint8_t *data, size_t size);
/* Decode the string in place; *ret_size bytes are at `text` then. -EINVAL: not base64, and text is spoilt. */
int text_decode_base64(char *text, size_t *ret_size);
