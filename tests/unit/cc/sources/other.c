/* The second source of a module; the unused function is for linkers that collect garbage. */
int other_add(int x);
int other_unused(int x);

int other_add(int x)
{
    return x + 1;
}

int other_unused(int x)
{
    return x - 1;
}
