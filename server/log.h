/*
 * log.h: the daemon's own log: one line of key=value an event, on stderr, by one write.
 *
 * core and api never log: they answer, count and record. Safe from any thread; never from a signal
 * handler.
 */
#ifndef SRV_LOG_H
#define SRV_LOG_H

enum srv_level { SRV_INFO, SRV_WARNING, SRV_ERROR };

/* fmt gives the pairs after event: "path=%s bytes=%zu". Quote values that may have spaces with
 * \"%s\". */
void srv_log(enum srv_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
