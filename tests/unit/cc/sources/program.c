/* A program: its functions have checks too. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    printf("%s\n", argv[argc - 1]);
    return argc == 2 ? atoi(argv[1]) : 99;
}
