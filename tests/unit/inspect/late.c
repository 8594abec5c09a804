/*
 * late.c: a library that is loaded while the test runs. Built three times: with symbols and debug
 * information, stripped of both, and once more with other contents (LATE_OTHER) to stand in its
 * place on disk.
 */
void late_call(void (*fn)(void *), void *arg);

#ifdef LATE_OTHER
int late_weight(int x);
__attribute__((noinline)) int late_weight(int x)
{
    return x * 31 + 7;
}
#endif

static void __attribute__((noinline, noclone)) late_inner(void (*fn)(void *), void *arg)
{
    fn(arg);
    __asm__ volatile("" ::: "memory"); /* no tail call */
}

void late_call(void (*fn)(void *), void *arg)
{
    late_inner(fn, arg);
    __asm__ volatile("" ::: "memory");
}
