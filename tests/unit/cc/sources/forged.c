/* Claims that a place is the room for a check, which it is not. */
void forged(void);

void forged(void)
{
    __asm__ volatile("1: .fill 32, 1, 0\n"
                     ".pushsection __patchable_function_entries, \"awo\", %progbits, .text\n"
                     ".balign 8\n"
                     ".quad 1b\n"
                     ".popsection");
}
