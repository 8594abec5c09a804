/*
 * fuzz_module.c: a module's file, as far as it is looked at before anything of it is mapped: ELF,
 * note, imports, unwind data. Nothing of it may be believed.
 */
#include <string.h>

#include "fuzz.h"
#include "module.h"
#include "text_ranges.h"

static int see(void *arg, const char *name)
{
    size_t *bytes = arg;
    *bytes += strlen(name);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gri_module module;
    struct gri_text_list list = {0};
    struct gri_elf elf;
    char err[GRI_ERROR_BYTES] = "";
    size_t bytes = 0;
    if (gri_elf_open(&elf, fuzz_file(data, size), err) < 0) {
        CLAIM(err[0], "a refusal says why");
        return 0;
    }
    memset(&module, 0, sizeof module);
    if (gri_loader_check(&elf, &module, false, err) < 0)
        CLAIM(err[0], "a refusal says why");
    gri_elf_each_needed(&elf, see, &bytes);
    if (gri_text_unwindable(&elf, 0, UINT64_MAX, &list) == 0)
        for (size_t i = 0; i < list.count; i++)
            CLAIM(list.range[i].lo < list.range[i].hi &&
                      (i == 0 || list.range[i - 1].hi < list.range[i].lo),
                  "ranges are sorted, disjoint and not empty");
    gri_text_list_fini(&list);
    gri_elf_close(&elf);
    return 0;
}
