/* Feature macros still work behind the forced include, and errno is still the system's constant
 * names. */
#define _GNU_SOURCE
#include <string.h>
#include <errno.h>
#include <errno.h>

const char *features(void);

const char *features(void)
{
    errno = ENOENT;
    return errno == ENOENT ? program_invocation_short_name : strerrorname_np(EINTR);
}
