/*
 * bare.c: a function without unwind data, as hand-written assembly has none (its compiler options
 * see to it).
 */
void bare_call(void (*fn)(void *), void *arg);
void bare_call(void (*fn)(void *), void *arg)
{
    fn(arg);
    __asm__ volatile("" ::: "memory"); /* no tail call */
}
