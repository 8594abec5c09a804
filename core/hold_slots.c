/*
 * hold_slots.c: where the holds of gr_suspend live: records that are never given back to malloc, so that a
 * gr_suspension that was released long ago can be looked at and refused.
 */
#include "scheduler.h"

#include <stdlib.h>

static struct gri_lock slots_lock;
static struct gri_hold_slot *free_slots;
static uint64_t last_serial;

struct gri_hold_slot *gri_hold_slot_take(void)
{
    struct gri_hold_slot *slot;

    gri_lock(&slots_lock);
    slot = free_slots;
    if (slot)
        free_slots = slot->next;
    last_serial++;
    if (slot)
        slot->serial = last_serial;
    gri_unlock(&slots_lock);
    if (slot) {
        atomic_store_explicit(&slot->serial_now, slot->serial, memory_order_release);
        return slot;
    }
    slot = calloc(1, sizeof *slot);
    if (!slot)
        return NULL;
    gri_lock(&slots_lock);
    slot->serial = ++last_serial;
    gri_unlock(&slots_lock);
    atomic_store_explicit(&slot->serial_now, slot->serial, memory_order_release);
    return slot;
}

void gri_hold_slot_give(struct gri_hold_slot *slot)
{
    atomic_store_explicit(&slot->serial_now, 0, memory_order_release);
    gri_lock(&slots_lock);
    slot->next = free_slots;
    free_slots = slot;
    gri_unlock(&slots_lock);
}

int gri_hold_slot_end(void *record, uint64_t serial)
{
    struct gri_hold_slot *slot = record;

    /* acq_rel; pairs with itself: of two that resume the same suspension one wins. */
    if (!slot || serial == 0 ||
        !atomic_compare_exchange_strong_explicit(&slot->serial_now, &serial, 0,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return -EINVAL;
    gr_hold_end(&slot->hold);
    gri_hold_slot_give(slot);
    return 0;
}
