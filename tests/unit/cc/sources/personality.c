/* Looks to the linker like compiled C++ with exceptions. */
extern char __gxx_personality_v0;
char *personality(void);

char *personality(void)
{
    return &__gxx_personality_v0;
}
