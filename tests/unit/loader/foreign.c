/*
 * foreign.c: a library that was not built by grasp-cc.
 */
#ifdef FOREIGN_TLS
static __thread int calls;
#else
static int calls;
#endif

int foreign_call(int (*fn)(int), int n);
int foreign_jump(int (*fn)(int), int n);
int foreign_twice(int n);

/* With optimisation a jump: fn returns to our caller. */
int foreign_jump(int (*fn)(int), int n)
{
    return fn(n);
}

int foreign_twice(int n)
{
    return 2 * n;
}

int foreign_call(int (*fn)(int), int n)
{
    int result;

    calls++;
    result = fn(n);
    calls--;
    return result + calls;
}
