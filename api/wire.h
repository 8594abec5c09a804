/*
 * wire.h: the names and numbers that a client and the daemon must agree on.
 *
 * Header names, media types, limits and the slugs of problems, as the API's contract has them.
 * Clients include this file and nothing else of the daemon, so it declares no function and no type.
 */
#ifndef API_WIRE_H
#define API_WIRE_H

#define API_HEADER_INSTANCE "Grasp-Instance"
#define API_UPGRADE_GDB     "gdb-remote" /* of GET /v1/gdb */

#define API_TYPE_JSON    "application/json"
#define API_TYPE_PROBLEM "application/problem+json"
#define API_TYPE_NDJSON  "application/x-ndjson"
#define API_TYPE_TEXT    "text/plain; charset=utf-8"
#define API_TYPE_EVENTS  "text/event-stream"
#define API_TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"

#define API_ID_MAX                    ((UINT64_C(1) << 53) - 1)
#define API_URI_BYTES_MAX             4096
#define API_HEADER_BYTES_MAX          16384
#define API_HEADERS_MAX               64
#define API_BODY_BYTES_MAX            (1024 * 1024)
#define API_CHUNK_EXTENSION_BYTES_MAX 1024
#define API_JSON_DEPTH_MAX            32

#define API_LEASE_MS_MIN       100
#define API_LEASE_MS_MAX       3600000
#define API_LEASE_MS_DEFAULT   30000
#define API_TIMEOUT_MS_MAX     60000
#define API_TIMEOUT_MS_DEFAULT 1000
#define API_WAIT_MS_MAX        60000
#define API_LIMIT_DEFAULT      100
#define API_LIMIT_MAX          1000
#define API_SNAPSHOT_BYTES_MAX (256 * 1024)
#define API_SPAWN_COUNT_MAX    100000
#define API_EVENT_STREAMS_MAX  32
#define API_IDS_MAX            100000 /* named in one selection */
#define API_GDB_THREADS_MAX    4096   /* goroutines of one session */
#define API_GDB_SESSIONS_MAX   16
#define API_ROOTS_DEFAULT      1000
#define API_ROOTS_MAX          32768 /* a word each of a full stack of the default size, and more */
#define API_KEYS_MAX           16384  /* Idempotency-Keys that are remembered, of all and of one principal */
#define API_KEYS_SHARE_MAX     4096
#define API_KEYS_BYTES_MAX     (64 * 1024 * 1024)
#define API_KEYS_SHARE_BYTES_MAX (16 * 1024 * 1024)
#define API_KEY_BYTES_MAX      255
#define API_SNAPSHOTS_MAX      4096   /* saved ones that are kept */
#define API_TURN_MS_MAX        60000  /* how long a call waits for its turn */
#define API_NOTE_BYTES_MAX     255    /* owner and reason of a suspension */

#define API_CODE_BAD_REQUEST        "bad-request"
#define API_CODE_UNKNOWN_FIELD      "unknown-field"
#define API_CODE_UNKNOWN_PARAMETER  "unknown-parameter"
#define API_CODE_BAD_CURSOR         "bad-cursor"
#define API_CODE_UNAUTHORIZED       "unauthorized"
#define API_CODE_FORBIDDEN          "forbidden"
#define API_CODE_FOREIGN_ORIGIN     "foreign-origin"
#define API_CODE_NOT_FOUND          "not-found"
#define API_CODE_NOTHING_SELECTED   "nothing-selected"
#define API_CODE_MODULE_NOT_LOADED  "module-not-loaded"
#define API_CODE_ENTRY_NOT_FOUND    "entry-not-found"
#define API_CODE_METHOD_NOT_ALLOWED "method-not-allowed"
#define API_CODE_NOT_ACCEPTABLE     "not-acceptable"
#define API_CODE_REQUEST_TIMEOUT    "request-timeout"
#define API_CODE_NOT_SUSPENDED      "not-suspended"
#define API_CODE_SUSPEND_INCOMPLETE "suspend-incomplete"
#define API_CODE_KEY_REUSED         "key-reused"
#define API_CODE_TOO_MANY_HOLDS     "too-many-holds"
#define API_CODE_MODULE_CHANGED     "module-changed"
#define API_CODE_MODULE_BUSY        "module-busy"
#define API_CODE_GOROUTINE_DEAD     "goroutine-dead"
#define API_CODE_LEASE_EXPIRED      "lease-expired"
#define API_CODE_INSTANCE_CHANGED   "instance-changed"
#define API_CODE_TOO_LARGE          "too-large"
#define API_CODE_URI_TOO_LONG       "uri-too-long"
#define API_CODE_UNSUPPORTED_TYPE   "unsupported-media-type"
#define API_CODE_EXPECTATION_FAILED "expectation-failed"
#define API_CODE_UPGRADE_REQUIRED   "upgrade-required"
#define API_CODE_UNKNOWN_HOST       "unknown-host"
#define API_CODE_MODULE_REFUSED     "module-refused"
#define API_CODE_LIMIT_REACHED      "limit-reached"
#define API_CODE_HEADERS_TOO_LARGE  "headers-too-large"
#define API_CODE_INTERNAL           "internal"
#define API_CODE_DRAINING           "draining"
#define API_CODE_OUT_OF_RESOURCES   "out-of-resources"
#define API_CODE_DISK_FULL          "disk-full"
#define API_CODE_SUSPEND_TIMEOUT    "suspend-timeout"

#endif
