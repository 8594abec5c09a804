/*
 * names.c: names of addresses that were asked for a moment ago.
 *
 * The inspector works under one lock and may hold it for as long as it unwinds ten thousand stacks, and it asks the
 * dynamic linker whether anything was loaded, whose lock a goroutine may hold that stands still. The loop can wait for
 * neither. But what is asked for again and again, where a goroutine stands, has a name that was found before: it is
 * remembered here for as long as the code of modules stays what it is (gr_text_version).
 *
 *   N1  A name is kept with the version that its address had both before and after it was looked up.
 *   N2  The lock is held for a few instructions, never while anything is looked up or allocated.
 */
#include "internal.h"

static struct api_name *place_of(struct api *api, uint64_t pc)
{
    return &api->names.known[(pc * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (API_NAMES_KNOWN - 1)];
}

bool api_name_known(struct api *api, uint64_t pc, struct gr_frame *frame)
{
    uint64_t version = gr_text_version(pc);
    const struct api_name *name = place_of(api, pc);
    if (!version)
        return false;
    pthread_mutex_lock(&api->names.lock);
    bool known = name->version == version && name->frame.pc == pc;
    if (known)
        *frame = name->frame;
    pthread_mutex_unlock(&api->names.lock);
    return known;
}

void api_name(struct api *api, uint64_t pc, struct gr_frame *frame)
{
    if (api_name_known(api, pc, frame))
        return;
    uint64_t version = gr_text_version(pc);
    gr_symbolise(pc, true, frame);
    if (!version || gr_text_version(pc) != version)
        return; /* N1 */
    pthread_mutex_lock(&api->names.lock);
    *place_of(api, pc) = (struct api_name){version, *frame};
    pthread_mutex_unlock(&api->names.lock);
}
