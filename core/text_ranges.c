/*
 * text_ranges.c: lists of code ranges, and which code a file's unwind data covers. See
 * text_ranges.h; the map made of them is in text_map.c.
 */
#include "text_ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- Lists of ranges ------------------------------------------------------------------------- */

bool gri_text_list_add(struct gri_text_list *list, uint64_t lo, uint64_t hi)
{
    if (lo >= hi)
        return true;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        struct gri_text_range *larger = realloc(list->range, capacity * sizeof *larger);

        if (!larger)
            return false;
        list->range = larger;
        list->capacity = capacity;
    }
    list->range[list->count++] = (struct gri_text_range){lo, hi};
    return true;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct gri_text_range *x = a, *y = b;

    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

void gri_text_list_normalise(struct gri_text_list *list)
{
    size_t kept = 0;

    if (list->count == 0)
        return;
    qsort(list->range, list->count, sizeof *list->range, compare_ranges);
    for (size_t i = 1; i < list->count; i++) {
        struct gri_text_range *last = &list->range[kept];

        if (list->range[i].lo > last->hi)
            list->range[++kept] = list->range[i];
        else if (list->range[i].hi > last->hi)
            last->hi = list->range[i].hi;
    }
    list->count = kept + 1;
}

bool gri_text_list_subtract(struct gri_text_list *out, const struct gri_text_list *list,
                            const struct gri_text_list *holes)
{
    size_t hole = 0;

    for (size_t i = 0; i < list->count; i++) {
        uint64_t lo = list->range[i].lo, hi = list->range[i].hi;

        while (hole < holes->count && holes->range[hole].hi <= lo)
            hole++;
        /* A hole may reach into the next range: `hole` itself moves on only past those that end
         * before it. */
        for (size_t h = hole; h < holes->count && holes->range[h].lo < hi; h++) {
            if (!gri_text_list_add(out, lo, holes->range[h].lo))
                return false;
            if (holes->range[h].hi > lo)
                lo = holes->range[h].hi;
        }
        if (!gri_text_list_add(out, lo, hi))
            return false;
    }
    return true;
}

void gri_text_list_fini(struct gri_text_list *list)
{
    free(list->range);
    *list = (struct gri_text_list){NULL, 0, 0};
}

/* ---- Unwind data ----------------------------------------------------------------------------- */

/* DWARF pointer encodings that linkers write. */
#define ENC_ABSOLUTE       0x00
#define ENC_UDATA4         0x03
#define ENC_PCREL_SDATA4   0x1b
#define ENC_PCREL_SDATA8   0x1c
#define ENC_DATAREL_SDATA4 0x3b

static bool read_u32(const struct gri_elf *elf, uint64_t at, uint32_t *value)
{
    const void *bytes = gri_elf_at(elf, at, 4);

    if (bytes)
        memcpy(value, bytes, 4);
    return bytes != NULL;
}

static bool read_u64(const struct gri_elf *elf, uint64_t at, uint64_t *value)
{
    const void *bytes = gri_elf_at(elf, at, 8);

    if (bytes)
        memcpy(value, bytes, 8);
    return bytes != NULL;
}

/* Skips a LEB128 number: the address behind it, 0 if it does not end. */
static uint64_t skip_leb(const struct gri_elf *elf, uint64_t at)
{
    for (int i = 0; i < 10; i++) {
        const uint8_t *byte = gri_elf_at(elf, at++, 1);

        if (!byte)
            return 0;
        if (!(*byte & 0x80))
            return at;
    }
    return 0;
}

/* Of a CIE: how its FDEs encode addresses, and whether they describe signal frames. */
struct cie {
    uint8_t encoding;
    bool signal_frame;
};

static bool parse_augmentation(const struct gri_elf *elf, const char *letters, uint64_t at,
                               struct cie *cie)
{
    for (const char *letter = letters + 1; *letter; letter++) {
        const uint8_t *byte = gri_elf_at(elf, at, 1);

        switch (*letter) {
        case 'S':
            cie->signal_frame = true;
            break;
        case 'B':
        case 'G':
            break;
        case 'L':
            at++;
            break;
        case 'R':
            if (!byte)
                return false;
            cie->encoding = *byte;
            at++;
            break;
        case 'P':
            if (!byte)
                return false;
            at += (*byte & 0x0f) == 0x0b || (*byte & 0x0f) == ENC_UDATA4 ? 5 : 9;
            break;
        default:
            return false;
        }
    }
    return true;
}

static bool parse_cie(const struct gri_elf *elf, uint64_t at, struct cie *cie)
{
    const uint8_t *version = gri_elf_at(elf, at + 8, 2);
    char letters[16] = "";
    size_t length = 0;
    uint64_t next;

    *cie = (struct cie){ENC_ABSOLUTE, false};
    if (!version)
        return false;
    for (;; length++) {
        const char *letter = gri_elf_at(elf, at + 9 + length, 1);

        if (!letter || length == sizeof letters - 1)
            return false;
        letters[length] = *letter;
        if (!*letter)
            break;
    }
    next = at + 9 + length + 1;
    if (*version >= 4)
        next += 2;
    next = skip_leb(elf, next);                                        /* code alignment */
    next = next ? skip_leb(elf, next) : 0;                             /* data alignment */
    next = !next ? 0 : *version == 1 ? next + 1 : skip_leb(elf, next); /* return address column */
    if (!next)
        return false;
    if (letters[0] == 0)
        return true;
    if (letters[0] != 'z')
        return false;
    next = skip_leb(elf, next);
    return next && parse_augmentation(elf, letters, next, cie);
}

/* The code that the FDE at `at` covers. False: corrupt. An FDE that is no use gives an empty range.
 */
static bool parse_fde(const struct gri_elf *elf, uint64_t at, struct gri_text_range *range)
{
    uint32_t length, cie_distance, low, size;
    uint64_t value;
    struct cie cie;

    *range = (struct gri_text_range){0, 0};
    if (!read_u32(elf, at, &length) || !read_u32(elf, at + 4, &cie_distance))
        return false;
    if (length == 0 || length == UINT32_MAX || cie_distance == 0)
        return false;
    if (!parse_cie(elf, at + 4 - cie_distance, &cie))
        return false;
    if (cie.signal_frame)
        return true;
    if (cie.encoding == ENC_PCREL_SDATA4) {
        if (!read_u32(elf, at + 8, &low) || !read_u32(elf, at + 12, &size))
            return false;
        range->lo = at + 8 + (uint64_t)(int64_t)(int32_t)low;
        range->hi = range->lo + size;
        return true;
    }
    if (cie.encoding == ENC_PCREL_SDATA8) {
        if (!read_u64(elf, at + 8, &range->lo) || !read_u64(elf, at + 16, &value))
            return false;
        range->lo += at + 8;
        range->hi = range->lo + value;
        return true;
    }
    return false;
}

int gri_text_unwindable(const struct gri_elf *elf, uint64_t lo, uint64_t hi,
                        struct gri_text_list *list)
{
    const Elf64_Phdr *table = gri_elf_segment(elf, PT_GNU_EH_FRAME);
    const uint8_t *head = table ? gri_elf_at(elf, table->p_vaddr, 12) : NULL;
    uint32_t count, offset;

    if (!head || head[0] != 1 || head[2] != ENC_UDATA4 || head[3] != ENC_DATAREL_SDATA4)
        return -ENOEXEC;
    memcpy(&count, head + 8, 4);
    if (count > elf->size / 8)
        return -ENOEXEC;
    for (uint32_t i = 0; i < count; i++) {
        struct gri_text_range range;

        if (!read_u32(elf, table->p_vaddr + 12 + 8 * (uint64_t)i + 4, &offset) ||
            !parse_fde(elf, table->p_vaddr + (uint64_t)(int64_t)(int32_t)offset, &range))
            return -ENOEXEC;
        if (range.lo < lo)
            range.lo = lo;
        if (range.hi > hi)
            range.hi = hi;
        if (!gri_text_list_add(list, range.lo, range.hi))
            return -ENOMEM;
    }
    gri_text_list_normalise(list);
    return 0;
}
