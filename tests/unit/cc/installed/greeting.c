#include <grasp/goroutine.h>

static int greet(const char *args)
{
    return gr_log("hello %s", args);
}
GR_ENTRY("greet", greet, "Says hello");
