/*
 * foreign.c: a library that was not built by grasp-cc.
 */
#ifdef FOREIGN_TLS
static __thread int calls;
#else
static int calls;
#endif

int foreign_call(int (*fn)(int), int n);
int foreign_call(int (*fn)(int), int n)
{
    int result;

    calls++;
    result = fn(n);
    calls--;
    return result + calls;
}
