/* A nested function whose address is taken: gcc makes a trampoline on the stack. */
int apply(int (*fn)(int));
int nest(int k);

__attribute__((noipa)) int apply(int (*fn)(int))
{
    return fn(3);
}

int nest(int k)
{
    int add(int x)
    {
        return x + k;
    }
    return apply(add);
}
